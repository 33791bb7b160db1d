cimport cython
from shardserve.gateway.inside cimport Inside
from shardserve.gateway.wsgi cimport WsgiExchange, WsgiGateway
from shardserve.http.exchange cimport Exchange, Wire
from shardserve.http.request cimport Request
from shardserve.http.service cimport Service
from shardserve.net.blackbox cimport BlackBox

cdef double _TURN, _LONG

cdef class InlineGateway(WsgiGateway):
    cdef public object loop
    cdef public Inside inside
    cdef public dict _waiting
    cdef public bint _resting

    cpdef bint take(self, InlineExchange exchange) except? True
    cpdef rest(self, Service service)
    cpdef open(self, Wire wire, Request request)

cdef class InlineExchange(WsgiExchange):
    cdef public object _blocks
    cdef public bint _busy
    cdef public object _close
    cdef public object _context
    cdef public object _part
    cdef public bint _plain
    cdef public object _written

    @cython.locals(gateway=InlineGateway)
    cpdef _ready(self)
    @cython.locals(request=Request, box=BlackBox, wire=Wire)
    cpdef call(self)
    @cython.locals(box=BlackBox)
    cpdef _body_done(self)
    @cython.locals(gateway=InlineGateway, inside=Inside, began=double)
    cpdef _step(self, step)
    @cython.locals(gateway=InlineGateway)
    cpdef _call(self)
    cpdef hung_up(self)
    cpdef lost(self)
