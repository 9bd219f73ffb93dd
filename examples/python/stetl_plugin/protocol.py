"""The messages of the protocol, made from its descriptors: no generated code, which would
have to fit the version of protobuf that is installed.

Every message and every value of an enum is a name of this module: User, Outcome,
ACTION_CREATED. Their types are in protocol.pyi.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "stetl.plugin.v1"
SERVICE = PACKAGE + ".TargetService"

_pool = descriptor_pool.Default()
_files = descriptor_pb2.FileDescriptorSet.FromString((Path(__file__).parent / "protocol.binpb").read_bytes())
for _file in _files.file:
    try:
        _pool.FindFileByName(_file.name)
    except KeyError:
        _pool.Add(_file)

for _file in _files.file:
    if _file.package == PACKAGE:
        _known = _pool.FindFileByName(_file.name)
        for _name, _message in _known.message_types_by_name.items():
            globals()[_name] = message_factory.GetMessageClass(_message)
        for _enum in _known.enum_types_by_name.values():
            globals()[_enum.name] = int
            globals().update({value.name: value.number for value in _enum.values})

METHODS = _pool.FindServiceByName(SERVICE).methods_by_name
