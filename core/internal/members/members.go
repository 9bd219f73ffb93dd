package members

import (
	"encoding/json"
	"iter"

	"github.com/tidwall/gjson"
)

// Of yields the names and values, as JSON text, of the top level of an account's
// metadata, in the order in which they are stored. Of a name that is there twice, the
// last value counts. Anything but an object has no members.
//
// Large moves look at every account's metadata several times, and a map of it would
// take ten times as long.
func Of(metadata json.RawMessage) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		if object := gjson.ParseBytes(metadata); object.IsObject() {
			object.ForEach(func(name, value gjson.Result) bool { return yield(name.String(), value.Raw) })
		}
	}
}
