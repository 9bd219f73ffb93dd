// Command release makes everything of a release into one folder: archives, packages, an
// image, a formula, and their checksums. What it makes follows from the commit alone, so
// that two people get the same bytes. It needs nothing but Go; docs/decisions says why it
// is no larger tool.
//
// release.json at the root of the tree is its recipe.
package main
