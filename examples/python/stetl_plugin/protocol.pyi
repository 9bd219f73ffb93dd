"""The types of the messages, made from the protocol by "go test ./examples/python -update"."""

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

class Switch(int): ...

SWITCH_UNSPECIFIED: Switch
SWITCH_ON: Switch
SWITCH_OFF: Switch

class Capabilities(Message):
    @property
    def hashes(self) -> RepeatedCompositeFieldContainer[HashSupport]: ...
    @property
    def carries(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def abilities(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def batch(self) -> BatchLimits: ...
    max_id_length: int
    unique_email: bool
    whole: bool
    @property
    def identity(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def folds_case(self) -> ScalarMap[str, bool]: ...
    @property
    def folds(self) -> MessageMap[str, Folding]: ...
    no_usernames: bool
    @property
    def unique_in_tenant(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def sign_ins(self) -> RepeatedCompositeFieldContainer[SignIn]: ...
    only_tenant: str
    unique_identities: bool
    def __init__(self, *, hashes: Iterable[HashSupport] | None = ..., carries: Iterable[str] | None = ..., abilities: Iterable[str] | None = ..., batch: BatchLimits | Mapping[str, object] | None = ..., max_id_length: int | None = ..., unique_email: bool | None = ..., whole: bool | None = ..., identity: Iterable[str] | None = ..., folds_case: Mapping[str, bool] | None = ..., folds: Mapping[str, Folding] | None = ..., no_usernames: bool | None = ..., unique_in_tenant: Iterable[str] | None = ..., sign_ins: Iterable[SignIn] | None = ..., only_tenant: str | None = ..., unique_identities: bool | None = ...) -> None: ...
    def HasField(self, field_name: Literal["batch"]) -> bool: ...

class Folding(Message):
    trims: bool
    normalization: str
    def __init__(self, *, trims: bool | None = ..., normalization: str | None = ...) -> None: ...

class SignIn(Message):
    way: str
    provider: str
    state: Switch
    def __init__(self, *, way: str | None = ..., provider: str | None = ..., state: Switch | None = ...) -> None: ...

class HashSupport(Message):
    scheme: str
    @property
    def variants(self) -> RepeatedScalarFieldContainer[str]: ...
    min_cost: int
    max_cost: int
    max_memory_kib: int
    def __init__(self, *, scheme: str | None = ..., variants: Iterable[str] | None = ..., min_cost: int | None = ..., max_cost: int | None = ..., max_memory_kib: int | None = ...) -> None: ...

class BatchLimits(Message):
    users: int
    bytes: int
    in_flight: int
    def __init__(self, *, users: int | None = ..., bytes: int | None = ..., in_flight: int | None = ...) -> None: ...

class Needs(Message):
    @property
    def schemes(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def providers(self) -> RepeatedScalarFieldContainer[str]: ...
    users: int
    @property
    def roles(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def tenants(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def metadata_keys(self) -> RepeatedScalarFieldContainer[str]: ...
    resets: int
    without_email: int
    without_name: int
    dry_run: bool
    @property
    def role_users(self) -> ScalarMap[str, int]: ...
    @property
    def tenant_users(self) -> ScalarMap[str, int]: ...
    @property
    def broker(self) -> Broker: ...
    def __init__(self, *, schemes: Iterable[str] | None = ..., providers: Iterable[str] | None = ..., users: int | None = ..., roles: Iterable[str] | None = ..., tenants: Iterable[str] | None = ..., metadata_keys: Iterable[str] | None = ..., resets: int | None = ..., without_email: int | None = ..., without_name: int | None = ..., dry_run: bool | None = ..., role_users: Mapping[str, int] | None = ..., tenant_users: Mapping[str, int] | None = ..., broker: Broker | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["broker"]) -> bool: ...

class Broker(Message):
    issuer: str
    client_id: str
    client_secret: str
    exchange: bool
    algorithm: str
    def __init__(self, *, issuer: str | None = ..., client_id: str | None = ..., client_secret: str | None = ..., exchange: bool | None = ..., algorithm: str | None = ...) -> None: ...

class Severity(int): ...

SEVERITY_UNSPECIFIED: Severity
SEVERITY_ERROR: Severity
SEVERITY_WARNING: Severity

class CodeInfo(Message):
    code: str
    meaning: str
    remedy: str
    path: str
    permanent: bool
    def __init__(self, *, code: str | None = ..., meaning: str | None = ..., remedy: str | None = ..., path: str | None = ..., permanent: bool | None = ...) -> None: ...

class Diagnostic(Message):
    severity: Severity
    code: str
    summary: str
    detail: str
    path: str
    hint: str
    def __init__(self, *, severity: Severity | None = ..., code: str | None = ..., summary: str | None = ..., detail: str | None = ..., path: str | None = ..., hint: str | None = ...) -> None: ...

class Action(int): ...

ACTION_UNSPECIFIED: Action
ACTION_CREATED: Action
ACTION_UPDATED: Action
ACTION_UNCHANGED: Action
ACTION_SKIPPED: Action
ACTION_REJECTED: Action
ACTION_IN_DOUBT: Action
ACTION_DELETED: Action

class Outcome(Message):
    source_id: str
    action: Action
    target_id: str
    code: str
    detail: str
    hint: str
    @property
    def changed(self) -> RepeatedScalarFieldContainer[str]: ...
    state: bytes
    before: bytes
    @property
    def losses(self) -> RepeatedCompositeFieldContainer[PartLoss]: ...
    holder: str
    def __init__(self, *, source_id: str | None = ..., action: Action | None = ..., target_id: str | None = ..., code: str | None = ..., detail: str | None = ..., hint: str | None = ..., changed: Iterable[str] | None = ..., state: bytes | None = ..., before: bytes | None = ..., losses: Iterable[PartLoss] | None = ..., holder: str | None = ...) -> None: ...

class PartLoss(Message):
    feature: str
    code: str
    attribute: str
    detail: str
    def __init__(self, *, feature: str | None = ..., code: str | None = ..., attribute: str | None = ..., detail: str | None = ...) -> None: ...

class Change(Message):
    @property
    def outcome(self) -> Outcome: ...
    @property
    def fields(self) -> RepeatedCompositeFieldContainer[FieldChange]: ...
    def __init__(self, *, outcome: Outcome | Mapping[str, object] | None = ..., fields: Iterable[FieldChange] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["outcome"]) -> bool: ...

class FieldChange(Message):
    field: str
    old: str
    new: str
    drift: bool
    def __init__(self, *, field: str | None = ..., old: str | None = ..., new: str | None = ..., drift: bool | None = ...) -> None: ...

class DescribeRequest(Message):
    minor: int
    def __init__(self, *, minor: int | None = ...) -> None: ...

class DescribeResponse(Message):
    name: str
    version: str
    @property
    def capabilities(self) -> Capabilities: ...
    config_schema_json: bytes
    @property
    def codes(self) -> RepeatedCompositeFieldContainer[CodeInfo]: ...
    @property
    def config_fields(self) -> RepeatedCompositeFieldContainer[ConfigField]: ...
    minor: int
    def __init__(self, *, name: str | None = ..., version: str | None = ..., capabilities: Capabilities | Mapping[str, object] | None = ..., config_schema_json: bytes | None = ..., codes: Iterable[CodeInfo] | None = ..., config_fields: Iterable[ConfigField] | None = ..., minor: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["capabilities"]) -> bool: ...

class ConfigField(Message):
    key: str
    title: str
    description: str
    default_json: str
    example_json: str
    required: bool
    secret: bool
    def __init__(self, *, key: str | None = ..., title: str | None = ..., description: str | None = ..., default_json: str | None = ..., example_json: str | None = ..., required: bool | None = ..., secret: bool | None = ...) -> None: ...

class ProposeRequest(Message):
    config_json: bytes
    user_agent: str
    def __init__(self, *, config_json: bytes | None = ..., user_agent: str | None = ...) -> None: ...

class ProposeResponse(Message):
    config_json: bytes
    @property
    def comments(self) -> ScalarMap[str, str]: ...
    @property
    def diagnostics(self) -> RepeatedCompositeFieldContainer[Diagnostic]: ...
    def __init__(self, *, config_json: bytes | None = ..., comments: Mapping[str, str] | None = ..., diagnostics: Iterable[Diagnostic] | None = ...) -> None: ...

class ConfigureRequest(Message):
    config_json: bytes
    user_agent: str
    fingerprint_key: bytes
    @property
    def saved(self) -> ScalarMap[str, bytes]: ...
    minor: int
    def __init__(self, *, config_json: bytes | None = ..., user_agent: str | None = ..., fingerprint_key: bytes | None = ..., saved: Mapping[str, bytes] | None = ..., minor: int | None = ...) -> None: ...

class ConfigureResponse(Message):
    @property
    def diagnostics(self) -> RepeatedCompositeFieldContainer[Diagnostic]: ...
    @property
    def capabilities(self) -> Capabilities: ...
    def __init__(self, *, diagnostics: Iterable[Diagnostic] | None = ..., capabilities: Capabilities | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["capabilities"]) -> bool: ...

class DefineRolesRequest(Message):
    @property
    def roles(self) -> RepeatedCompositeFieldContainer[Role]: ...
    def __init__(self, *, roles: Iterable[Role] | None = ...) -> None: ...

class Role(Message):
    name: str
    @property
    def permissions(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(self, *, name: str | None = ..., permissions: Iterable[str] | None = ...) -> None: ...

class DefineRolesResponse(Message):
    @property
    def diagnostics(self) -> RepeatedCompositeFieldContainer[Diagnostic]: ...
    def __init__(self, *, diagnostics: Iterable[Diagnostic] | None = ...) -> None: ...

class CheckRequest(Message):
    @property
    def needs(self) -> Needs: ...
    def __init__(self, *, needs: Needs | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["needs"]) -> bool: ...

class CheckResponse(Message):
    @property
    def diagnostics(self) -> RepeatedCompositeFieldContainer[Diagnostic]: ...
    @property
    def mails(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def sign_ins(self) -> RepeatedCompositeFieldContainer[SignIn]: ...
    def __init__(self, *, diagnostics: Iterable[Diagnostic] | None = ..., mails: Iterable[str] | None = ..., sign_ins: Iterable[SignIn] | None = ...) -> None: ...

class FixRequest(Message):
    @property
    def needs(self) -> Needs: ...
    undo: bool
    @property
    def setup(self) -> Setup: ...
    def __init__(self, *, needs: Needs | Mapping[str, object] | None = ..., undo: bool | None = ..., setup: Setup | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["needs", "setup"]) -> bool: ...

class Setup(Message):
    admin_token: str
    show: bool
    def __init__(self, *, admin_token: str | None = ..., show: bool | None = ...) -> None: ...

class FixResponse(Message):
    @property
    def diagnostics(self) -> RepeatedCompositeFieldContainer[Diagnostic]: ...
    @property
    def steps(self) -> RepeatedCompositeFieldContainer[SetupStep]: ...
    def __init__(self, *, diagnostics: Iterable[Diagnostic] | None = ..., steps: Iterable[SetupStep] | None = ...) -> None: ...

class SetupStep(Message):
    what: str
    request_json: str
    command: str
    def __init__(self, *, what: str | None = ..., request_json: str | None = ..., command: str | None = ...) -> None: ...

class PlanRequest(Message):
    @property
    def batch(self) -> Batch: ...
    @property
    def cancel(self) -> CancelBatch: ...
    def __init__(self, *, batch: Batch | Mapping[str, object] | None = ..., cancel: CancelBatch | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["batch", "cancel"]) -> bool: ...

class PlanResponse(Message):
    batch_id: int
    @property
    def changes(self) -> RepeatedCompositeFieldContainer[Change]: ...
    done: bool
    @property
    def pulse(self) -> Pulse: ...
    def __init__(self, *, batch_id: int | None = ..., changes: Iterable[Change] | None = ..., done: bool | None = ..., pulse: Pulse | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["pulse"]) -> bool: ...

class LoadRequest(Message):
    @property
    def batch(self) -> Batch: ...
    @property
    def cancel(self) -> CancelBatch: ...
    @property
    def saved(self) -> Saved: ...
    def __init__(self, *, batch: Batch | Mapping[str, object] | None = ..., cancel: CancelBatch | Mapping[str, object] | None = ..., saved: Saved | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["batch", "cancel", "saved"]) -> bool: ...

class LoadResponse(Message):
    batch_id: int
    @property
    def outcomes(self) -> RepeatedCompositeFieldContainer[Outcome]: ...
    done: bool
    @property
    def save(self) -> Save: ...
    @property
    def pulse(self) -> Pulse: ...
    def __init__(self, *, batch_id: int | None = ..., outcomes: Iterable[Outcome] | None = ..., done: bool | None = ..., save: Save | Mapping[str, object] | None = ..., pulse: Pulse | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["save", "pulse"]) -> bool: ...

class Save(Message):
    id: int
    key: str
    value: bytes
    def __init__(self, *, id: int | None = ..., key: str | None = ..., value: bytes | None = ...) -> None: ...
    def HasField(self, field_name: Literal["value"]) -> bool: ...

class Saved(Message):
    id: int
    error: str
    def __init__(self, *, id: int | None = ..., error: str | None = ...) -> None: ...

class Pulse(Message):
    limit: int
    @property
    def wait(self) -> Duration: ...
    reason: str
    done: int
    total: int
    def __init__(self, *, limit: int | None = ..., wait: Duration | Mapping[str, object] | None = ..., reason: str | None = ..., done: int | None = ..., total: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["wait"]) -> bool: ...

class Batch(Message):
    id: int
    @property
    def users(self) -> RepeatedCompositeFieldContainer[User]: ...
    def __init__(self, *, id: int | None = ..., users: Iterable[User] | None = ...) -> None: ...

class CancelBatch(Message):
    batch_id: int
    def __init__(self, *, batch_id: int | None = ...) -> None: ...

class FinishRequest(Message):
    def __init__(self) -> None: ...

class FinishResponse(Message):
    @property
    def diagnostics(self) -> RepeatedCompositeFieldContainer[Diagnostic]: ...
    def __init__(self, *, diagnostics: Iterable[Diagnostic] | None = ...) -> None: ...

class Account(Message):
    source_id: str
    target_id: str
    state: bytes
    before: bytes
    id: str
    in_doubt: bool
    signed_in: bool
    disable: bool
    release: bool
    dry_run: bool
    def __init__(self, *, source_id: str | None = ..., target_id: str | None = ..., state: bytes | None = ..., before: bytes | None = ..., id: str | None = ..., in_doubt: bool | None = ..., signed_in: bool | None = ..., disable: bool | None = ..., release: bool | None = ..., dry_run: bool | None = ...) -> None: ...
    def HasField(self, field_name: Literal["before"]) -> bool: ...

class UndoRequest(Message):
    @property
    def accounts(self) -> RepeatedCompositeFieldContainer[Account]: ...
    def __init__(self, *, accounts: Iterable[Account] | None = ...) -> None: ...

class UndoStreamRequest(Message):
    @property
    def undo(self) -> UndoRequest: ...
    @property
    def cancel(self) -> CancelUndo: ...
    def __init__(self, *, undo: UndoRequest | Mapping[str, object] | None = ..., cancel: CancelUndo | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["undo", "cancel"]) -> bool: ...

class CancelUndo(Message):
    def __init__(self) -> None: ...

class UndoResponse(Message):
    @property
    def outcomes(self) -> RepeatedCompositeFieldContainer[Outcome]: ...
    def __init__(self, *, outcomes: Iterable[Outcome] | None = ...) -> None: ...

class UndoStreamResponse(Message):
    @property
    def outcomes(self) -> RepeatedCompositeFieldContainer[Outcome]: ...
    @property
    def pulse(self) -> Pulse: ...
    def __init__(self, *, outcomes: Iterable[Outcome] | None = ..., pulse: Pulse | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["pulse"]) -> bool: ...

class TidyRequest(Message):
    def __init__(self) -> None: ...

class TidyResponse(Message):
    @property
    def diagnostics(self) -> RepeatedCompositeFieldContainer[Diagnostic]: ...
    removed: int
    left: int
    def __init__(self, *, diagnostics: Iterable[Diagnostic] | None = ..., removed: int | None = ..., left: int | None = ...) -> None: ...

class LoginRequest(Message):
    target_id: str
    username: str
    password: str
    def __init__(self, *, target_id: str | None = ..., username: str | None = ..., password: str | None = ...) -> None: ...

class LoginResponse(Message):
    accepted: bool
    @property
    def failure(self) -> Failure: ...
    def __init__(self, *, accepted: bool | None = ..., failure: Failure | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["failure"]) -> bool: ...

class SetPasswordRequest(Message):
    target_id: str
    email: str
    password: str
    end_sessions: bool
    def __init__(self, *, target_id: str | None = ..., email: str | None = ..., password: str | None = ..., end_sessions: bool | None = ...) -> None: ...

class SetPasswordResponse(Message):
    @property
    def failure(self) -> Failure: ...
    def __init__(self, *, failure: Failure | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["failure"]) -> bool: ...

class StartResetRequest(Message):
    target_id: str
    email: str
    redirect_uri: str
    def __init__(self, *, target_id: str | None = ..., email: str | None = ..., redirect_uri: str | None = ...) -> None: ...

class StartResetResponse(Message):
    location: str
    @property
    def failure(self) -> Failure: ...
    def __init__(self, *, location: str | None = ..., failure: Failure | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["failure"]) -> bool: ...

class ExchangeRequest(Message):
    assertion: str
    target_id: str
    email: str
    client_id: str
    scope: str
    def __init__(self, *, assertion: str | None = ..., target_id: str | None = ..., email: str | None = ..., client_id: str | None = ..., scope: str | None = ...) -> None: ...

class ExchangeResponse(Message):
    tokens_json: bytes
    @property
    def failure(self) -> Failure: ...
    def __init__(self, *, tokens_json: bytes | None = ..., failure: Failure | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["failure"]) -> bool: ...

class Failure(Message):
    code: str
    detail: str
    hint: str
    def __init__(self, *, code: str | None = ..., detail: str | None = ..., hint: str | None = ...) -> None: ...

class CloseRequest(Message):
    def __init__(self) -> None: ...

class CloseResponse(Message):
    @property
    def diagnostics(self) -> RepeatedCompositeFieldContainer[Diagnostic]: ...
    def __init__(self, *, diagnostics: Iterable[Diagnostic] | None = ...) -> None: ...

class Existing(int): ...

EXISTING_UNSPECIFIED: Existing
EXISTING_LEAVE: Existing
EXISTING_UPDATE: Existing

class PasswordClass(int): ...

PASSWORD_CLASS_UNSPECIFIED: PasswordClass
PASSWORD_CLASS_HASH_CARRIED: PasswordClass
PASSWORD_CLASS_NEEDS_RESET: PasswordClass
PASSWORD_CLASS_NO_PASSWORD: PasswordClass

class User(Message):
    source_id: str
    id: str
    username: str
    email: str
    email_verified: bool
    phone: str
    phone_verified: bool
    given_name: str
    family_name: str
    @property
    def other_emails(self) -> RepeatedCompositeFieldContainer[Address]: ...
    enabled: bool
    @property
    def created(self) -> Timestamp: ...
    @property
    def last_active(self) -> Timestamp: ...
    @property
    def password(self) -> Password: ...
    password_class: PasswordClass
    @property
    def identities(self) -> RepeatedCompositeFieldContainer[Identity]: ...
    @property
    def totp(self) -> RepeatedCompositeFieldContainer[TotpDevice]: ...
    @property
    def tenants(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def roles(self) -> MessageMap[str, RoleNames]: ...
    metadata_json: bytes
    existing: Existing
    @property
    def prior(self) -> Prior: ...
    expect_state: bytes
    @property
    def passkeys(self) -> RepeatedCompositeFieldContainer[Passkey]: ...
    def __init__(self, *, source_id: str | None = ..., id: str | None = ..., username: str | None = ..., email: str | None = ..., email_verified: bool | None = ..., phone: str | None = ..., phone_verified: bool | None = ..., given_name: str | None = ..., family_name: str | None = ..., other_emails: Iterable[Address] | None = ..., enabled: bool | None = ..., created: Timestamp | Mapping[str, object] | None = ..., last_active: Timestamp | Mapping[str, object] | None = ..., password: Password | Mapping[str, object] | None = ..., password_class: PasswordClass | None = ..., identities: Iterable[Identity] | None = ..., totp: Iterable[TotpDevice] | None = ..., tenants: Iterable[str] | None = ..., roles: Mapping[str, RoleNames] | None = ..., metadata_json: bytes | None = ..., existing: Existing | None = ..., prior: Prior | Mapping[str, object] | None = ..., expect_state: bytes | None = ..., passkeys: Iterable[Passkey] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["email_verified", "phone_verified", "created", "last_active", "password", "metadata_json", "prior", "expect_state"]) -> bool: ...

class Prior(Message):
    target_id: str
    state: bytes
    in_doubt: bool
    @property
    def linked(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(self, *, target_id: str | None = ..., state: bytes | None = ..., in_doubt: bool | None = ..., linked: Iterable[str] | None = ...) -> None: ...

class Password(Message):
    scheme: str
    encoded: str
    def __init__(self, *, scheme: str | None = ..., encoded: str | None = ...) -> None: ...

class Address(Message):
    email: str
    verified: bool
    def __init__(self, *, email: str | None = ..., verified: bool | None = ...) -> None: ...
    def HasField(self, field_name: Literal["verified"]) -> bool: ...

class Identity(Message):
    provider: str
    subject: str
    name: str
    def __init__(self, *, provider: str | None = ..., subject: str | None = ..., name: str | None = ...) -> None: ...

class TotpDevice(Message):
    name: str
    secret: str
    @property
    def period(self) -> Duration: ...
    skew: int
    verified: bool
    @property
    def created(self) -> Timestamp: ...
    def __init__(self, *, name: str | None = ..., secret: str | None = ..., period: Duration | Mapping[str, object] | None = ..., skew: int | None = ..., verified: bool | None = ..., created: Timestamp | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["period", "created"]) -> bool: ...

class Passkey(Message):
    id: str
    relying_party_id: str
    attested_credential: bytes
    user_handle: bytes
    counter: int
    @property
    def transports(self) -> RepeatedScalarFieldContainer[str]: ...
    name: str
    @property
    def created(self) -> Timestamp: ...
    def __init__(self, *, id: str | None = ..., relying_party_id: str | None = ..., attested_credential: bytes | None = ..., user_handle: bytes | None = ..., counter: int | None = ..., transports: Iterable[str] | None = ..., name: str | None = ..., created: Timestamp | Mapping[str, object] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["created"]) -> bool: ...

class RoleNames(Message):
    @property
    def names(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(self, *, names: Iterable[str] | None = ...) -> None: ...
