cimport cython
from shardserve.gateway.fair cimport pace
from shardserve.gateway.asgi_extensions cimport AsgiExtensions
from shardserve.http.exchange cimport Exchange, Gateway, Wire
from shardserve.http.request cimport Request
from shardserve.http.service cimport Service
from shardserve.native cimport method

cdef int CALLS_MAX, _CALLS_AGAIN
cdef bint COMPILED

cdef class AsgiGateway(Gateway):
    cdef public object app
    cdef public object spawn
    cdef public object proxies
    cdef public str root_path
    cdef public object extensions
    cdef public dict _http_extensions
    cdef public object open_websocket
    cdef public dict state

    @cython.locals(path=str, root_path=str, octets=bytes, base=dict, scope=dict)
    cpdef dict scope(self, Wire wire, Request request)
    @cython.locals(exchange=AsgiExchange)
    cpdef Exchange open(self, Wire wire, Request request)

cdef class AsgiExchange(AsgiExtensions):
    cdef public bytes _body
    cdef public bint _ended
    cdef public AsgiGateway _gateway
    cdef public bint _hung_up
    cdef public object _task
    cdef public bint _told
    cdef public object _waiter

    cpdef open(self, Wire wire, Request request, AsgiGateway gateway)
    @cython.locals(wire=Wire, service=Service, request=Request)
    cpdef start(self)
    @cython.locals(sending=Sending)
    cpdef Sending begin_sending(self, message)
    @cython.locals(head=dict, body=object, more=bint, wire=Wire)
    cpdef take(self, dict message)
    cpdef feed(self, data)
    cpdef end(self)
    cpdef _wake(self)

@cython.freelist(8)
cdef class Sending:
    cdef AsgiExchange exchange
    cdef object message
    cdef object waiting
