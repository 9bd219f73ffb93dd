"""The plumbing of a stetl target plugin in Python: process, handshake, order of calls.

A plugin is a class with configure(config) and load(user); see ndjson_target.py.
The contract that this module implements is docs/wire-contract.md.
"""

import base64
import datetime
import json
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from stetl.plugin.v1 import capability_pb2, diag_pb2, outcome_pb2, target_pb2, target_pb2_grpc

COOKIE = ("STETL_PLUGIN", "3f0c9a1e5b7d42688f64d1c7b02e95aa")
PROTOCOL, MINOR = 1, 1
MAX_MESSAGE = 16 << 20


def log(level, msg, **fields):
    """Logs one JSON line to stderr, where stetl reads it."""
    fields.update(time=datetime.datetime.now(datetime.timezone.utc).isoformat(), level=level, msg=msg)
    print(json.dumps(fields), file=sys.stderr, flush=True)


class Reject(Exception):
    """Raised by load or plan for a user that the target cannot take."""

    def __init__(self, code, detail, hint=""):
        super().__init__(detail)
        self.code, self.detail, self.hint = code, detail, hint


def misfits(config, schema):
    """Compares the fields of config with those of the schema; stetl does it in full before."""
    found = []
    for name in schema.get("required", ()):
        if name not in config:
            found.append(diag_pb2.Diagnostic(
                severity=diag_pb2.SEVERITY_ERROR, code="config.missing_field", path="/" + name, summary=f"{name} is missing"))
    for name in config:
        if name not in schema["properties"] and schema.get("additionalProperties") is False:
            found.append(diag_pb2.Diagnostic(
                severity=diag_pb2.SEVERITY_ERROR, code="config.unknown_field", path="/" + name,
                summary=f"{name} is not a field here"))
    return found


def outcome(user, action, **fields):
    return outcome_pb2.Outcome(source_id=user.source_id, action=action, **fields)


class Service(target_pb2_grpc.TargetServiceServicer):
    """Answers the host: one outcome per user, whatever the target does."""

    def __init__(self, target):
        self.target = target
        self.state, self.lock = "fresh", threading.Lock()

    def Describe(self, request, context):
        return target_pb2.DescribeResponse(
            name=self.target.name, version=self.target.version,
            capabilities=self._capabilities(), config_schema_json=json.dumps(self.target.schema).encode(),
            codes=self.target.codes, minor=MINOR)

    def _capabilities(self):
        caps = capability_pb2.Capabilities()
        caps.CopyFrom(self.target.capabilities)
        for ability in ("check", "plan", "undo"):
            if hasattr(self.target, ability):
                caps.abilities.append(ability)
        return caps

    def _require(self, context, *states):
        if self.state not in states:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"not in the state {self.state}")

    def Configure(self, request, context):
        with self.lock:
            self._require(context, "fresh")
            config = json.loads(request.config_json)
            problems = misfits(config, self.target.schema) or list(self.target.configure(config))
            if not any(p.severity == diag_pb2.SEVERITY_ERROR for p in problems):
                self.state = "ready"
        return target_pb2.ConfigureResponse(diagnostics=problems, capabilities=self._capabilities())

    def Check(self, request, context):
        self._require(context, "ready", "finished")
        return target_pb2.CheckResponse(diagnostics=self.target.check(request.needs))

    def _each(self, user, work):
        """Runs work for one user; every way it can end is an outcome."""
        try:
            return work(user)
        except Reject as r:
            return outcome(user, outcome_pb2.ACTION_REJECTED, code=r.code, detail=r.detail, hint=r.hint)
        except Exception as e:  # what is unknown is in doubt, never lost
            log("error", "load", source_id=user.source_id, error=type(e).__name__)
            return outcome(user, outcome_pb2.ACTION_IN_DOUBT, code="load.undecided", detail=type(e).__name__)

    def Load(self, requests, context):
        self._require(context, "ready")
        for request in requests:
            for user in request.batch.users:
                result = self._each(user, self.target.load)
                yield target_pb2.LoadResponse(batch_id=request.batch.id, outcomes=[result])
            if request.HasField("batch"):
                yield target_pb2.LoadResponse(batch_id=request.batch.id, done=True)

    def Plan(self, requests, context):
        self._require(context, "ready", "finished")
        for request in requests:
            changes = []
            for user in request.batch.users:
                change = self._each(user, self.target.plan)
                if isinstance(change, outcome_pb2.Outcome):
                    change = outcome_pb2.Change(outcome=change)
                changes.append(change)
            if request.HasField("batch"):
                yield target_pb2.PlanResponse(batch_id=request.batch.id, changes=changes, done=True)

    def Undo(self, request, context):
        self._require(context, "ready", "finished")
        return target_pb2.UndoResponse(outcomes=[self._each(a, self.target.undo) for a in request.accounts])

    def Finish(self, request, context):
        with self.lock:
            self._require(context, "ready")
            self.state = "finished"
        self.target.finish()
        return target_pb2.FinishResponse()

    def Close(self, request, context):
        with self.lock:
            self._require(context, "fresh", "ready", "finished")
            self.state = "closed"
        return target_pb2.CloseResponse()


def certificate():
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


def watch_parent(parent):
    """Ends the process when the host is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def serve(target):
    """Serves target until the host is done with it."""
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.exit(f"{target.name} is a target plugin of stetl, not a command of its own; stetl starts it "
                 f"when it lies beside stetl as stetl-plugin-{target.name}")
    handshake_out, sys.stdout = sys.stdout, sys.stderr  # whatever prints must not end up in the handshake
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=watch_parent, args=(os.getppid(),), daemon=True).start()

    stop = threading.Event()
    limits = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=limits)
    target_pb2_grpc.add_TargetServiceServicer_to_server(Service(target), server)

    healthy = health.HealthServicer()
    healthy.set("plugin", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)

    def shutdown(request, context):
        stop.set()
        return b""

    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("plugin.GRPCController", {
        "Shutdown": grpc.unary_unary_rpc_method_handler(shutdown),
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
