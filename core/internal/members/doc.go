// Package members looks at the top level of metadata. It stands apart from the account, so
// that plugins do not link what it takes.
package members
