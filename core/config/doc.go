// Package config reads the configuration file of stetl.
//
// [Load] parses YAML once into a tree that remembers where every value stands,
// expands ${env:NAME} and ${file:PATH} on that tree, checks it and reports all
// problems at once as [diag.List]. The part under target.config belongs to the
// plugin: [Target.Validate] checks it against the JSON Schema the plugin
// declares, with the same quality of messages.
//
// Two promises. Secrets enter by reference only: a secret field with clear text
// in the file is an error. And neither what came through a reference nor a secret
// literal appears in a diagnostic; of a secret field and of everything under
// target.config it does not appear in %v or JSON either: the only ways out are
// the methods called Reveal.
//
// The package knows neither SuperTokens nor any provider: names of renamable
// tables come in through [Config.CheckTables], plugin fields through schemas.
// It is the only importer of the YAML library.
package config
