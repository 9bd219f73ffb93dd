package main

import "encoding/json"

// preImage is how an account was, for an undo.
func preImage(a *account) ([]byte, error) { return json.Marshal(a) }

func fromPreImage(raw []byte) (*account, error) {
	var a account
	err := json.Unmarshal(raw, &a)
	a.ID = ""
	return &a, err
}
