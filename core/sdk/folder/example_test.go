package folder_test

import (
	"fmt"
	"log"
	"os"
	"regexp"

	"github.com/stetl/stetl/core/sdk/folder"
)

// Files wait until the run is complete. Those of the run before are replaced then, and
// nothing else in the folder is touched.
func ExampleFolder() {
	dir, err := os.MkdirTemp("", "stetl-example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	list := func() {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			fmt.Print(" ", e.Name())
		}
		fmt.Println()
	}

	f := folder.Folder{Dir: dir, Users: regexp.MustCompile(`^users-\d+\.json$`), Unwritable: "acme.unwritable", ForeignFiles: "acme.foreign_files"}
	if err := f.Start(); err != nil {
		log.Print(err)
		return
	}
	if err := f.Write("users-0.json", []byte(`[{"id": "ada"}]`), 0o600); err != nil {
		log.Print(err)
		return
	}
	fmt.Print("before:")
	list()
	if err := f.Commit(1); err != nil {
		log.Print(err)
		return
	}
	fmt.Print("after:")
	list()
	// Output:
	// before: .stetl-staging
	// after: stetl-manifest.json users-0.json
}
