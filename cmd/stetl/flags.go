package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/report"
)

// configVariable names the configuration, and configName is the one that is taken where
// nothing names any.
const (
	configVariable = "STETL_CONFIG"
	configName     = "stetl.yaml"
)

// common are the flags that every command has.
type common struct {
	verbose, noColor bool
	level, format    string
}

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"text", "json"}
)

func (f *common) add(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log more details; the same as --log-level debug")
	flags.StringVar(&f.level, "log-level", "", "log from this `LEVEL` on: "+strings.Join(logLevels, ", ")+" (default warn)")
	flags.StringVar(&f.format, "log-format", "", "`FORMAT` of standard error: "+strings.Join(logFormats, ", ")+" (default text); with json every line is a JSON record")
	flags.BoolVar(&f.noColor, "no-color", false, "no colours; the same as the variable NO_COLOR")
	completeWith(root, "log-level", logLevels...)
	completeWith(root, "log-format", logFormats...)
}

// completeWith has a shell complete a flag with words that are known.
func completeWith(c *cobra.Command, flag string, words ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func (f *common) check() error {
	switch {
	case f.level != "" && !slices.Contains(logLevels, f.level):
		return usageError(fmt.Errorf("--log-level %s: use one of %s", f.level, strings.Join(logLevels, ", ")))
	case f.format != "" && !slices.Contains(logFormats, f.format):
		return usageError(fmt.Errorf("--log-format %s: use one of %s", f.format, strings.Join(logFormats, ", ")))
	}
	return nil
}

// logger logs to w, from usual on in the usual format where no flag says anything else.
func (f *common) logger(w io.Writer, usual slog.Level, format string) *slog.Logger {
	level := usual
	switch {
	case f.level != "":
		_ = level.UnmarshalText([]byte(f.level)) // check knows all of them
	case f.verbose:
		level = slog.LevelDebug
	}
	o := &slog.HandlerOptions{Level: level}
	if cmp.Or(f.format, format) == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// begin is called before every command, with its flags read.
func (a *app) begin(cmd *cobra.Command) error {
	if err := a.common.check(); err != nil {
		return err
	}
	a.log = a.common.logger(a.err, slog.LevelWarn, "text")
	if a.common.format == "json" {
		a.err = &recordLines{log: slog.New(slog.NewJSONHandler(a.err, nil))}
	}
	a.log.DebugContext(cmd.Context(), "begin", "command", cmd.CommandPath(), "version", versionText(), "go", runtime.Version(), "os", runtime.GOOS, "arch", runtime.GOARCH)
	return nil
}

// recordLines makes a record of each line, so that whoever reads standard error as
// records finds nothing else there.
type recordLines struct {
	log *slog.Logger

	mu   sync.Mutex
	rest []byte
}

// Write takes any part of lines.
func (r *recordLines) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rest = append(r.rest, p...)
	for {
		line, rest, found := bytes.Cut(r.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		r.rest = rest
		if text := strings.TrimSpace(string(line)); text != "" {
			r.log.Info(text)
		}
	}
}

// explain says an error once, on standard error.
func (a *app) explain(err error) {
	var list *diag.ListError
	records, asRecords := a.err.(*recordLines)
	switch {
	case errors.As(err, &list) && asRecords:
		for _, d := range list.List {
			say := records.log.Error
			if d.Severity == diag.Warning {
				say = records.log.Warn
			}
			say(diag.Printable(d.Summary), "code", d.Code, "place", d.Pos.String(), "path", d.Path, "detail", d.Detail, "hint", d.Hint)
		}
	case errors.As(err, &list):
		_ = diag.Write(a.err, list.List, diag.Options{Color: a.colors(a.err)})
	case errors.As(err, new(silentError)):
	case asRecords:
		records.log.Error(diag.Printable(err.Error()), "exit", exitCode(err))
	default:
		fmt.Fprintf(a.err, "stetl: %s\n", diag.PrintableText(err.Error()))
		if e, ok := errors.AsType[commandLineError](err); ok {
			fmt.Fprintf(a.err, "Run \"%s --help\" to see its arguments and flags.\n", e.command)
		}
	}
}

// colors says whether w shows colours, and is to.
func (a *app) colors(w io.Writer) bool {
	return isTerminal(w) && !a.common.noColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// screen is standard output for a report to a person, with its width where it is a
// terminal.
func (a *app) screen() report.Screen { return report.Screen{Writer: a.out, Columns: widthOf(a.out)} }

// config is the configuration to take: that of --config, or of the variable, or the usual
// one in this folder. It is empty where there is none.
func (a *app) config() string {
	if a.configPath == "" {
		a.configPath = os.Getenv(configVariable)
	}
	if a.configPath == "" {
		if _, err := os.Stat(configName); err == nil {
			a.configPath = configName
		}
	}
	return a.configPath
}

// helpWidth is how wide help is where nothing says how wide a terminal is.
const helpWidth = 80

// fitHelp has help keep to the width of the terminal.
func fitHelp(root *cobra.Command, width int) {
	if width <= 0 {
		width = helpWidth
	}
	refill(root, width)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages |", fmt.Sprintf("FlagUsagesWrapped %d |", width)))
}

// refill breaks the paragraphs of descriptions at another width.
func refill(c *cobra.Command, width int) {
	paragraphs := strings.Split(c.Long, "\n\n")
	for i, p := range paragraphs {
		if !strings.HasPrefix(p, " ") {
			paragraphs[i] = report.Fill(strings.Join(strings.Fields(p), " "), width)
		}
	}
	c.Long = strings.Join(paragraphs, "\n\n")
	for _, sub := range c.Commands() {
		refill(sub, width)
	}
}
