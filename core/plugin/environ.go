package plugin

import (
	"context"
	"log/slog"
	"os"

	"github.com/stetl/stetl/core/internal/wire"
)

// passed are the variables a plugin gets from the host's environment: what
// reaching a target through a proxy and behind a private CA takes, the time zone
// and the folder for temporary files. Everything else stays, because an environment is
// where credentials live.
var passed = []string{
	"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "TZ", "TMPDIR",
}

func environ(ctx context.Context, log *slog.Logger) []string {
	env := []string{wire.LogLevelKey + "=" + lowest(ctx, log).String()}
	for _, key := range passed {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// lowest is the first of the usual levels that log enables.
func lowest(ctx context.Context, log *slog.Logger) slog.Level {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(ctx, level) {
			return level
		}
	}
	return slog.LevelError
}
