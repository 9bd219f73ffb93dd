// Package mapping turns a canonical account into the user a target should hold.
//
// It knows conventions of applications (which metadata keys are names), the
// policies that choose one of several e-mails or passwords, and what a target
// declares it can carry. It knows neither SuperTokens' tables nor any provider.
package mapping
