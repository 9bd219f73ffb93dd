package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// batch is a transaction: statements that are sent at once. Their arguments go in the binary
// form, which is what most of the time of a large one would be spent on otherwise.
type batch struct {
	all   pgconn.Batch
	types *pgtype.Map
	err   error
}

// errArgument says that a value has no form for the server.
var errArgument = errors.New("a value cannot be sent to the database")

func newBatch() *batch { return &batch{types: pgtype.NewMap()} }

// Queue adds a statement.
func (b *batch) Queue(sql string, args ...any) {
	values, oids, formats := make([][]byte, len(args)), make([]uint32, len(args)), make([]int16, len(args))
	for i, arg := range args {
		oids[i], formats[i] = oidOf(arg), pgtype.BinaryFormatCode
		value, err := b.types.Encode(oids[i], pgtype.BinaryFormatCode, arg, make([]byte, 0, 64)) // without memory, an empty value would be NULL
		if err != nil && b.err == nil {
			b.err = fmt.Errorf("%w: argument %d is a %T", errArgument, i+1, arg) // the driver's words have its value
		}
		values[i] = value
	}
	b.all.ExecParams(sql, values, oids, formats, nil)
}

// oidOf is the type of an argument at the server; 0 where there is none for it.
func oidOf(arg any) uint32 {
	switch arg.(type) {
	case int64:
		return pgtype.Int8OID
	case string:
		return pgtype.TextOID
	case []byte:
		return pgtype.ByteaOID
	case time.Duration:
		return pgtype.IntervalOID
	case []string:
		return pgtype.TextArrayOID
	case [][]byte:
		return pgtype.ByteaArrayOID
	case []int64:
		return pgtype.Int8ArrayOID
	case []bool:
		return pgtype.BoolArrayOID
	}
	return 0
}

// send returns when the transaction is committed.
func (b *batch) send(ctx context.Context, pool *pgxpool.Pool) error {
	if b.err != nil {
		return b.err
	}
	c, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return c.Conn().PgConn().ExecBatch(ctx, &b.all).Close()
}
