cimport cython
from shardserve.gateway.environ cimport make_environ
from shardserve.gateway.inside cimport Inside
from shardserve.gateway.wsgi cimport WsgiExchange, WsgiGateway
from shardserve.http.exchange cimport Exchange, Wire
from shardserve.http.head cimport CheckedHead
from shardserve.http.request cimport Request
from shardserve.http.service cimport Service
from shardserve.native cimport enter_context, is_unshared, leave_context, method, monotonic_ns, new_context
from shardserve.net.blackbox cimport BlackBox

cdef bint COMPILED
cdef long long _TURN, _LONG, _SWIFT
cdef int _SWIFT_STEPS
cdef Py_ssize_t _TOGETHER
cdef int _CALL, _NEXT, _END
cdef object _hide, _NONE_LEFT

cdef class InlineGateway(WsgiGateway):
    cdef public object loop
    cdef public Inside inside
    cdef public bint attended
    cdef public dict _waiting
    cdef public bint _resting
    cdef public bint _hidden
    cdef InlineExchange _spare

    cpdef bint take(self, InlineExchange exchange) except -1
    cpdef rest(self, Service service)
    @cython.locals(exchange=InlineExchange)
    cpdef Exchange open(self, Wire wire, Request request)

cdef class InlineExchange(WsgiExchange):
    cdef public object _blocks
    cdef public bint _busy
    cdef public InlineGateway _inline
    cdef public object _close
    cdef public object _context
    cdef public object _part
    cdef public bint _plain
    cdef public int _swift
    cdef public bint _whole
    cdef public object _written

    @cython.locals(gateway=InlineGateway)
    cpdef _ready(self)
    @cython.locals(request=Request, box=BlackBox, now="long long", wire=Wire)
    cpdef call(self)
    @cython.locals(box=BlackBox)
    cpdef _body_done(self)
    cdef open_inline(self, Wire wire, Request request, InlineGateway gateway)
    @cython.locals(gateway=InlineGateway, inside=Inside, took="long long", hidden=bint)
    cdef _step(self, int step, long long began)
    cdef _take(self, int step)
    cdef _call(self)
    cpdef _take_blocks(self, blocks)
    cdef _next(self)
    cdef _end(self)
    @cython.locals(wire=Wire, service=Service, until="long long", attended=bint, kept=Py_ssize_t, late=bint)
    cdef _go_on(self, block)
    @cython.locals(head=CheckedHead)
    cdef bint _is_whole(self, block) except -1
    cpdef _resume(self, _)
    @cython.locals(wire=Wire, head=CheckedHead)
    cdef _send(self, block, bint more)
    cdef _finish(self)
    cdef _over(self)
    cdef _leave(self)
    cpdef hung_up(self)
    cpdef lost(self)
