"""A target plugin of stetl in Python: process, handshake, order of calls, cancelling.

A plugin is an object with the methods of Target; serve(target) is the whole of its main.
Only load is required. The host sees by itself which of check, plan, undo, login,
define_roles and finish there are. The contract is docs/wire-contract.md of stetl.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent import futures
from typing import Any, Callable, Iterable, Iterator, Mapping, Protocol

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import empty_pb2, message_factory
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from . import protocol
from .protocol import (
    ACTION_CREATED, ACTION_DELETED, ACTION_IN_DOUBT, ACTION_REJECTED, ACTION_SKIPPED, ACTION_UNCHANGED, ACTION_UPDATED,
    EXISTING_LEAVE, EXISTING_UPDATE, SEVERITY_ERROR, SEVERITY_WARNING,
    Account, Action, BatchLimits, Capabilities, Change, CodeInfo, Diagnostic, Failure, FieldChange, HashSupport, Needs, Outcome, PartLoss, Role, User,
)

__all__ = [
    "ACTION_CREATED", "ACTION_DELETED", "ACTION_IN_DOUBT", "ACTION_REJECTED", "ACTION_SKIPPED", "ACTION_UNCHANGED", "ACTION_UPDATED",
    "EXISTING_LEAVE", "EXISTING_UPDATE", "SEVERITY_ERROR", "SEVERITY_WARNING",
    "Account", "Action", "Authenticator", "BatchLimits", "Capabilities", "Change", "Checker", "Closer", "CodeInfo", "Context", "Diagnostic",
    "Failed", "Failure", "FieldChange", "Fingerprints", "Finisher", "HashSupport", "Needs", "Outcome", "PartLoss", "Planner", "Reject", "Role", "RoleKeeper",
    "Target", "Undoer", "User", "log", "outcome", "serve",
]

COOKIE = ("STETL_PLUGIN", "3f0c9a1e5b7d42688f64d1c7b02e95aa")
PROTOCOL, MINOR = 1, 3
MAX_MESSAGE = 16 << 20

log = logging.getLogger("stetl_plugin")


class Target(Protocol):
    """What every plugin has. What it can do beside is in the protocols below: it has these
    methods, or not. A list of codes of its own is called codes."""

    name: str
    version: str

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON Schema of the configuration, an object."""

    @property
    def capabilities(self) -> Capabilities:
        """What the target holds."""

    def configure(self, config: Mapping[str, Any], context: Context) -> Iterable[Diagnostic]:
        """Yields what is wrong with the configuration. Without network traffic."""

    def load(self, user: User) -> Outcome:
        """Writes one user. Raise Reject for one that cannot be taken."""


class Planner(Protocol):
    def plan(self, user: User) -> Change:
        """Returns the change that load would make, and writes nothing."""


class Undoer(Protocol):
    def undo(self, account: Account) -> Outcome:
        """Takes one account back."""


class Checker(Protocol):
    def check(self, needs: Needs) -> Iterable[Diagnostic]:
        """Yields what is wrong with the target, and writes nothing."""


class Authenticator(Protocol):
    def login(self, target_id: str, username: str, password: str) -> bool:
        """Says whether the password is right. Raise Failed when that cannot be found out."""


class RoleKeeper(Protocol):
    def define_roles(self, roles: Iterable[Role]) -> None:
        """Hears what roles allow, maybe in several calls, and writes nothing: that is for
        load and finish. The capabilities carry role_permissions."""


class Finisher(Protocol):
    def finish(self) -> None:
        """Makes the work of the run visible."""


class Closer(Protocol):
    def close(self) -> None:
        """Releases what the plugin holds."""


class Reject(Exception):
    """Raised by load, plan or undo for a user that the target cannot take."""

    def __init__(self, code: str, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.code, self.detail, self.hint = code, detail, hint


class Failed(Reject):
    """Raised by login when the target cannot be asked."""


class Fingerprints:
    """Fingerprints under the key of the host, of which nobody can guess the account."""

    def __init__(self, key: bytes) -> None:
        self._key = key or os.urandom(32)

    def of(self, value: str) -> str:
        """A few letters that stand for a secret in a plan."""
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()[:8]

    def state(self, record: Mapping[str, Any]) -> bytes:
        """The state of an account: what would be compared next time."""
        return hmac.new(self._key, json.dumps(record, sort_keys=True).encode(), hashlib.sha256).digest()


class Context:
    """What the host lends to a plugin."""

    def __init__(self, request: protocol.ConfigureRequest) -> None:
        self.fingerprints = Fingerprints(request.fingerprint_key)
        self.user_agent: str = request.user_agent
        self.saved: Mapping[str, bytes] = dict(request.saved)


class _JSONLines(logging.Formatter):
    """One JSON object a line, as stetl reads them. User data is never in it; ids are."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        level = {"CRITICAL": "error", "WARNING": "warn"}.get(record.levelname, record.levelname.lower())
        fields.update(time=datetime.datetime.now(datetime.timezone.utc).isoformat(), level=level, msg=record.getMessage())
        if record.exc_info and record.exc_info[0]:
            fields["error"] = record.exc_info[0].__name__  # what it says may hold anything
        return json.dumps(fields)


def outcome(user: User | Account, action: Action, **fields: Any) -> Outcome:
    """An Outcome of a user or an account."""
    return Outcome(source_id=user.source_id, action=action, **fields)


def misfits(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Compares the fields of config with those of the schema; stetl does it in full before."""
    for name in schema.get("required", ()):
        if name not in config:
            yield Diagnostic(severity=SEVERITY_ERROR, code="config.missing_field", path="/" + name, summary=f"{name} is missing")
    for name in config:
        if name not in schema["properties"] and schema.get("additionalProperties") is False:
            yield Diagnostic(severity=SEVERITY_ERROR, code="config.unknown_field", path="/" + name, summary=f"{name} is not a field here")


class Service:
    """Answers the host: one outcome per user, whatever the target does."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.state, self.lock = "fresh", threading.Lock()

    def Describe(self, request: protocol.DescribeRequest, context: grpc.ServicerContext) -> protocol.DescribeResponse:
        return protocol.DescribeResponse(
            name=self.target.name, version=self.target.version, capabilities=self._capabilities(),
            config_schema_json=json.dumps(self.target.schema).encode(), codes=getattr(self.target, "codes", ()), minor=MINOR)

    def _capabilities(self) -> Capabilities:
        caps = Capabilities()
        caps.CopyFrom(self.target.capabilities)
        for ability in ("check", "plan", "undo", "login"):
            if hasattr(self.target, ability):
                caps.abilities.append(ability)
        return caps

    def _require(self, context: grpc.ServicerContext, *states: str) -> None:
        if self.state not in states:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"not in the state {self.state}")

    def Configure(self, request: protocol.ConfigureRequest, context: grpc.ServicerContext) -> protocol.ConfigureResponse:
        with self.lock:
            self._require(context, "fresh")
            config = json.loads(request.config_json)
            problems = list(misfits(config, self.target.schema)) or list(self.target.configure(config, Context(request)) or ())
            if not any(p.severity == SEVERITY_ERROR for p in problems):
                self.state = "ready"
        return protocol.ConfigureResponse(diagnostics=problems, capabilities=self._capabilities())

    def DefineRoles(self, request: protocol.DefineRolesRequest, context: grpc.ServicerContext) -> protocol.DefineRolesResponse:
        self._require(context, "ready")
        if not hasattr(self.target, "define_roles"):
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "it does not keep what roles allow")
        problems = []
        try:
            self.target.define_roles(request.roles)
        except Exception as e:
            log.error("define roles", exc_info=True)
            problems.append(Diagnostic(severity=SEVERITY_ERROR, code="plugin.call_failed", summary=type(e).__name__))
        return protocol.DefineRolesResponse(diagnostics=problems)

    def Check(self, request: protocol.CheckRequest, context: grpc.ServicerContext) -> protocol.CheckResponse:
        self._require(context, "ready", "finished")
        return protocol.CheckResponse(diagnostics=self.target.check(request.needs))

    def _each(self, user: Any, work: Callable[[Any], Any]) -> Any:
        """Runs work for one user; every way it can end is an outcome."""
        try:
            return work(user)
        except Reject as r:
            return outcome(user, ACTION_REJECTED, code=r.code, detail=r.detail, hint=r.hint)
        except Exception as e:  # what is unknown is in doubt, never lost
            log.error("a user is undecided", exc_info=True, extra={"fields": {"source_id": user.source_id}})
            return outcome(user, ACTION_IN_DOUBT, code="load.undecided", detail=type(e).__name__)

    def _batches(self, requests: Iterable[Any], answer: Callable[[Any, threading.Event], Iterator[Any]]) -> Iterator[Any]:
        """Answers batch after batch, while another thread hears what is taken back."""
        waiting: list[protocol.Batch | None] = []
        taken_back: dict[int, threading.Event] = {}
        ready = threading.Condition()

        def listen() -> None:
            try:
                for request in requests:
                    with ready:
                        if request.HasField("cancel"):
                            taken_back.setdefault(request.cancel.batch_id, threading.Event()).set()
                        elif request.HasField("batch"):
                            taken_back.setdefault(request.batch.id, threading.Event())
                            waiting.append(request.batch)
                        ready.notify()
            except grpc.RpcError:
                pass  # the host is gone, or the stream was cut off
            with ready:
                waiting.append(None)
                ready.notify()

        threading.Thread(target=listen, daemon=True).start()
        while True:
            with ready:
                ready.wait_for(lambda: waiting)
                batch = waiting.pop(0)
            if batch is None:
                return
            yield from answer(batch, taken_back[batch.id])
            with ready:
                del taken_back[batch.id]

    def Load(self, requests: Iterable[protocol.LoadRequest], context: grpc.ServicerContext) -> Iterator[protocol.LoadResponse]:
        self._require(context, "ready")

        def answer(batch: protocol.Batch, taken_back: threading.Event) -> Iterator[protocol.LoadResponse]:
            for user in batch.users:
                if taken_back.is_set():
                    break  # who has no outcome was not begun with
                yield protocol.LoadResponse(batch_id=batch.id, outcomes=[self._each(user, self.target.load)])
            yield protocol.LoadResponse(batch_id=batch.id, done=True)

        yield from self._batches(requests, answer)

    def Plan(self, requests: Iterable[protocol.PlanRequest], context: grpc.ServicerContext) -> Iterator[protocol.PlanResponse]:
        self._require(context, "ready", "finished")

        def answer(batch: protocol.Batch, taken_back: threading.Event) -> Iterator[protocol.PlanResponse]:
            for user in batch.users:
                if taken_back.is_set():
                    break
                change = self._each(user, self.target.plan)
                if isinstance(change, Outcome):
                    change = Change(outcome=change)
                yield protocol.PlanResponse(batch_id=batch.id, changes=[change])
            yield protocol.PlanResponse(batch_id=batch.id, done=True)

        yield from self._batches(requests, answer)

    def Undo(self, request: protocol.UndoRequest, context: grpc.ServicerContext) -> protocol.UndoResponse:
        self._require(context, "ready", "finished")
        return protocol.UndoResponse(outcomes=[self._each(a, self.target.undo) for a in request.accounts])

    def UndoStream(self, requests: Iterable[protocol.UndoStreamRequest], context: grpc.ServicerContext) -> Iterator[protocol.UndoStreamResponse]:
        self._require(context, "ready", "finished")
        stop = threading.Event()
        stream = iter(requests)
        first = next(stream)

        def listen() -> None:
            try:
                for request in stream:
                    if request.HasField("cancel"):
                        stop.set()
            except grpc.RpcError:
                stop.set()

        threading.Thread(target=listen, daemon=True).start()
        for account in first.undo.accounts:
            if stop.is_set():
                return
            yield protocol.UndoStreamResponse(outcomes=[self._each(account, self.target.undo)])

    def Login(self, request: protocol.LoginRequest, context: grpc.ServicerContext) -> protocol.LoginResponse:
        self._require(context, "ready", "finished")
        try:
            return protocol.LoginResponse(accepted=self.target.login(request.target_id, request.username, request.password))
        except Reject as r:
            return protocol.LoginResponse(failure=Failure(code=r.code, detail=r.detail, hint=r.hint))
        except Exception as e:
            return protocol.LoginResponse(failure=Failure(code="plugin.call_failed", detail=type(e).__name__))

    def Finish(self, request: protocol.FinishRequest, context: grpc.ServicerContext) -> protocol.FinishResponse:
        with self.lock:
            self._require(context, "ready")
            self.state = "finished"
        problems = []
        try:
            getattr(self.target, "finish", lambda: None)()
        except Exception as e:
            log.error("finish", exc_info=True)
            problems.append(Diagnostic(severity=SEVERITY_ERROR, code="plugin.finish_failed", summary=type(e).__name__))
        return protocol.FinishResponse(diagnostics=problems)

    def Close(self, request: protocol.CloseRequest, context: grpc.ServicerContext) -> protocol.CloseResponse:
        with self.lock:
            self._require(context, "fresh", "ready", "finished")
            self.state = "closed"
        getattr(self.target, "close", lambda: None)()
        return protocol.CloseResponse()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What the server is to call; a call that is not here is unimplemented."""
        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler, (True, True): grpc.stream_stream_rpc_method_handler,
        }
        methods = {}
        for name, method in protocol.METHODS.items():
            if hasattr(self, name):
                request, response = (message_factory.GetMessageClass(m) for m in (method.input_type, method.output_type))
                methods[name] = kinds[method.client_streaming, method.server_streaming](
                    getattr(self, name), request_deserializer=request.FromString, response_serializer=response.SerializeToString)
        return grpc.method_handlers_generic_handler(protocol.SERVICE, methods)


def certificate() -> tuple[bytes, x509.Certificate]:
    """A key pair for this process only. The host trusts just this certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    cert = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, cert


def watch_parent(parent: int) -> None:
    """Ends the process when the host is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def serve(target: Target) -> None:
    """Serves target until the host is done with it."""
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.exit(f"{target.name} is a target plugin of stetl, not a command of its own; stetl starts it "
                 f"when it lies beside stetl as stetl-plugin-{target.name}")
    handshake_out, sys.stdout = sys.stdout, sys.stderr  # whatever prints must not end up in the handshake
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSONLines())
    logging.basicConfig(handlers=[handler], level=os.environ.get("STETL_PLUGIN_LOG", "INFO").upper().replace("WARN", "WARNING").replace("WARNINGING", "WARNING"), force=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=watch_parent, args=(os.getppid(),), daemon=True).start()

    stop = threading.Event()
    limits = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=limits)
    server.add_generic_rpc_handlers((Service(target).handlers(),))

    healthy = health.HealthServicer()
    healthy.set("plugin", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)

    def shutdown(request: Any, context: grpc.ServicerContext) -> Any:
        stop.set()
        return empty_pb2.Empty()

    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("plugin.GRPCController", {
        "Shutdown": grpc.unary_unary_rpc_method_handler(
            shutdown, request_deserializer=empty_pb2.Empty.FromString, response_serializer=empty_pb2.Empty.SerializeToString),
    }),))

    key, cert = certificate()
    host = os.environ["PLUGIN_CLIENT_CERT"].encode()
    credentials = grpc.ssl_server_credentials(
        [(key, cert.public_bytes(serialization.Encoding.PEM))], root_certificates=host, require_client_auth=True)
    folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or tempfile.mkdtemp()
    path = os.path.join(folder, f"plugin{os.getpid()}")
    server.add_secure_port(f"unix:{path}", credentials)
    server.start()

    own = base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).rstrip(b"=").decode()
    print(f"1|{PROTOCOL}|unix|{path}|grpc|{own}", file=handshake_out, flush=True)
    stop.wait()
    server.stop(grace=1).wait()
