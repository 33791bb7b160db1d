cimport cython
from shardserve.gateway.spool cimport Body
from shardserve.gateway.wsgi cimport EarlyHints, WsgiExchange, WsgiGateway
from shardserve.http.exchange cimport Wire
from shardserve.http.request cimport Request

cdef dict _NAMES
cdef type _BytesIO
cdef str HTTP_1_1

cdef class Known:
    cdef public dict base
    cdef public dict fields
    cdef public Request first

cdef str _learn_name(bytes name)
cdef _set_server(dict environ, server, str scheme)
cdef _set_client(dict environ, client)
@cython.locals(here=dict, base=dict, known=Known)
cdef Known _know(WsgiGateway gateway, Wire wire)
@cython.locals(name=bytes, value=bytes, key=str)
cdef _set_fields(dict environ, list headers)
@cython.locals(size=Py_ssize_t)
cdef _set_length(dict environ, Body body)
@cython.locals(body=Body, gateway=WsgiGateway, wire=Wire, request=Request, hints=EarlyHints)
@cython.locals(known=Known, first=Request, environ=dict, path=str, target=str, root=str, query=str)
cpdef dict make_environ(WsgiExchange exchange)
