package supertokens_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/stetl/stetl/core/supertokens"
)

// A dump of a SuperTokens database is read without a server. A live one is read the
// same way, with Options.URL, in one snapshot.
func ExampleOpen() {
	ctx := context.Background()
	src, err := supertokens.Open(ctx, supertokens.Options{Dump: "../../testdata/supertokens/core-10.1.4.dump"})
	if incomplete, ok := errors.AsType[*supertokens.IncompleteError](err); ok {
		log.Fatal("a list that is not whole is refused: ", incomplete)
	}
	if err != nil {
		log.Fatal(err)
	}
	accounts, linked := 0, 0
	err = src.Read(ctx, func(b supertokens.Batch) error {
		for _, u := range b.Users {
			accounts++
			if len(u.Logins) > 1 {
				linked++
			}
		}
		return nil
	})
	if err = errors.Join(err, src.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("generation %s, app %s: %d accounts, %d with several ways to sign in\n", src.Layout().Generation, src.App(), accounts, linked)
	// Output: generation G4, app public: 125 accounts, 7 with several ways to sign in
}
