cimport cython
from shardserve.gateway.wsgi cimport WsgiGateway
from shardserve.http.exchange cimport Wire
from shardserve.http.request cimport Request

cdef dict _NAMES, _PROTOCOLS

cdef str _learn_name(bytes name)
@cython.locals(base=dict, environ=dict, path=str, target=str, root=str, query=str, names=dict, name=bytes, value=bytes, key=str)
cpdef dict make_environ(WsgiGateway gateway, Wire wire, Request request, body)
