package python_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

var update = flag.Bool("update", false, "write stetl_plugin/protocol.pyi anew")

const stubHead = `"""The types of the messages, made from the protocol by "go test ./examples/python -update"."""

from collections.abc import Iterable, Mapping
from typing import Literal

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.internal.containers import MessageMap, RepeatedCompositeFieldContainer, RepeatedScalarFieldContainer, ScalarMap
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

PACKAGE: str
SERVICE: str
METHODS: Mapping[str, MethodDescriptor]
`

// stubs are the types of all messages, as type checkers for Python read them.
func stubs(t *testing.T) string {
	t.Helper()
	var files []protoreflect.FileDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage("stetl.plugin.v1", func(f protoreflect.FileDescriptor) bool {
		files = append(files, f)
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return strings.Compare(a.Path(), b.Path()) })
	var out strings.Builder
	out.WriteString(stubHead)
	for _, f := range files {
		for i := range f.Enums().Len() {
			e := f.Enums().Get(i)
			fmt.Fprintf(&out, "\nclass %s(int): ...\n\n", e.Name())
			for j := range e.Values().Len() {
				fmt.Fprintf(&out, "%s: %s\n", e.Values().Get(j).Name(), e.Name())
			}
		}
		for i := range f.Messages().Len() {
			writeStub(&out, f.Messages().Get(i))
		}
	}
	return out.String()
}

func writeStub(out *strings.Builder, m protoreflect.MessageDescriptor) {
	fmt.Fprintf(out, "\nclass %s(Message):\n", m.Name())
	var arguments, optional []string
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		held, given := typesOf(f)
		if held == given {
			fmt.Fprintf(out, "    %s: %s\n", f.Name(), held)
		} else { // cannot be assigned to
			fmt.Fprintf(out, "    @property\n    def %s(self) -> %s: ...\n", f.Name(), held)
		}
		arguments = append(arguments, fmt.Sprintf("%s: %s | None = ...", f.Name(), given))
		if f.HasPresence() {
			optional = append(optional, fmt.Sprintf("%q", f.Name()))
		}
	}
	if len(arguments) > 0 {
		fmt.Fprintf(out, "    def __init__(self, *, %s) -> None: ...\n", strings.Join(arguments, ", "))
	} else {
		out.WriteString("    def __init__(self) -> None: ...\n")
	}
	if len(optional) > 0 {
		fmt.Fprintf(out, "    def HasField(self, field_name: Literal[%s]) -> bool: ...\n", strings.Join(optional, ", "))
	}
}

// typesOf is what a field holds, and what a constructor takes for it.
func typesOf(f protoreflect.FieldDescriptor) (held, given string) {
	switch {
	case f.IsMap():
		key, _ := one(f.MapKey())
		value, message := one(f.MapValue())
		kind := "ScalarMap"
		if message {
			kind = "MessageMap"
		}
		return fmt.Sprintf("%s[%s, %s]", kind, key, value), fmt.Sprintf("Mapping[%s, %s]", key, value)
	case f.IsList():
		value, message := one(f)
		kind := "RepeatedScalarFieldContainer"
		if message {
			kind = "RepeatedCompositeFieldContainer"
		}
		return fmt.Sprintf("%s[%s]", kind, value), fmt.Sprintf("Iterable[%s]", value)
	}
	value, message := one(f)
	if message {
		return value, value + " | Mapping[str, object]"
	}
	return value, value
}

// one is the type of one value.
func one(f protoreflect.FieldDescriptor) (name string, message bool) {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return string(f.Message().Name()), true
	case protoreflect.EnumKind:
		return string(f.Enum().Name()), false
	case protoreflect.BoolKind:
		return "bool", false
	case protoreflect.StringKind:
		return "str", false
	case protoreflect.BytesKind:
		return "bytes", false
	default:
		return "int", false
	}
}

// The types are those of the protocol as it is.
func TestStubsAreCurrent(t *testing.T) {
	t.Parallel()
	const path = "stetl_plugin/protocol.pyi"
	want := stubs(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s (-want +got); run go test ./examples/python -update:\n%s", path, diff)
	}
}

// checkers are what the types are tried with.
var checkers = []string{"mypy==2.4.1", "types-protobuf==7.35.1.20260906", "types-grpcio==1.85.0.20261028", "types-grpcio-health-checking==1.0.0.20261021"}

// A type checker knows the messages: the example is right, and a slip is found.
func TestTypes(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "sets up Python")
	if _, err := exec.LookPath("python3"); err != nil {
		testenv.Skip(t, "Python 3", err.Error())
	}
	venv, err := testenv.Cached("python-types-1", func(dir string) error {
		defer testenv.Wait(t, "pip to fetch a type checker")()
		if out, err := exec.Command("python3", "-m", "venv", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		args := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "cryptography", "grpcio"}, checkers...)
		if out, err := exec.Command(filepath.Join(dir, "bin", "python"), args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		testenv.Skip(t, "mypy", err.Error())
	}
	check := func(files ...string) (string, error) {
		cmd := exec.Command(filepath.Join(venv, "bin", "mypy"), append([]string{"--strict", "--cache-dir", t.TempDir()}, files...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check("stetl_plugin", "ndjson_target.py"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	slip := filepath.Join(t.TempDir(), "slip.py")
	text := "import stetl_plugin as stetl\n\ndef f(user: stetl.User) -> stetl.Outcome:\n    user.nmae = 1\n    return stetl.Outcome(state=\"text\")\n"
	if err := os.WriteFile(slip, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := check("stetl_plugin", slip)
	if err == nil || !strings.Contains(out, "slip.py:4:") || !strings.Contains(out, "slip.py:5:") {
		t.Errorf("two slips are not found: %v\n%s", err, out)
	}
}
