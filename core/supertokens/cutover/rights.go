package cutover

import (
	"context"

	"github.com/stetl/stetl/core/supertokens"
	"github.com/stetl/stetl/core/supertokens/session"
)

// Uses says what of SuperTokens the bridge changes.
type Uses struct{ Sessions, Resets, Verifications bool }

// MissingRights lists what the role may not do to the tables of SuperTokens and needs
// to, as in "DELETE on session_info".
func MissingRights(ctx context.Context, sessions *session.Store, uses Uses) (missing []string, err error) {
	for _, need := range []struct {
		used   bool
		right  string
		tables []supertokens.TableName
	}{
		{uses.Sessions, "DELETE", []supertokens.TableName{supertokens.SessionInfo}},
		{uses.Resets, "DELETE", []supertokens.TableName{tableReset}},
		{uses.Verifications, "DELETE", []supertokens.TableName{tableVerify, tableVerify31}},
		{uses.Verifications, "INSERT", []supertokens.TableName{tableVerified}},
	} {
		for _, name := range need.tables {
			from, there := sessions.Tables().Table(name)
			if !need.used || !there {
				continue
			}
			may, err := sessions.Database().May(ctx, need.right, from)
			if err != nil {
				return nil, err
			}
			if !may {
				missing = append(missing, need.right+" on "+from.SQL())
			}
		}
	}
	return missing, nil
}
