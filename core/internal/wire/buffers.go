package wire

import (
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
)

// The sizes of gRPC's own buffers go from 32 KiB to 1 MiB in one step, and each is cleared
// before it is used: for a batch, which is between them, that took a tenth of the time.
func init() { //nolint:gochecknoinits // gRPC takes it in no other way for messages that are sent
	if buffers, err := mem.NewBinaryTieredBufferPool(8, 12, 14, 15, 16, 17, 18, 19, 20); err == nil {
		experimental.SetDefaultBufferPool(buffers)
	}
}
