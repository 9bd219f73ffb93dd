package mysqladdress

import "github.com/stetl/stetl/core/internal/mysqlurl"

// Address is an address that has been understood. Its Config is that of the driver.
type Address = mysqlurl.Address

// Is reports whether a text is meant as the address of a MySQL or MariaDB database.
func Is(text string) bool { return mysqlurl.Is(text) }

// Parse reads an address. The error repeats nothing of it, as a password may stand anywhere.
func Parse(text string) (*Address, error) { return mysqlurl.Parse(text) }
