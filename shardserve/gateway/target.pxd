cdef class TrustedProxies:
    cdef bint _everyone
    cdef list _networks
    cdef readonly dict _known
    cdef bint _mount

    cpdef bint trusts(self, peer) except -1
