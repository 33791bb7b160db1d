# See native.py.

cdef extern from "Python.h":
    object c_new_context "PyContext_New" ()
    int c_enter "PyContext_Enter" (object context) except -1
    int c_leave "PyContext_Exit" (object context) except -1

cdef extern from *:
    """
    #include <time.h>
    static inline long long shardserve_monotonic_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);  /* the clock of time.monotonic() */
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }
    static inline long long shardserve_second(void) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);  /* not time(2): it may be a tick behind */
        return now.tv_sec;
    }
    """
    long long c_monotonic_ns "shardserve_monotonic_ns" () noexcept nogil
    long long c_second "shardserve_second" () noexcept nogil

cpdef long long monotonic_ns() except? -1
cpdef long long second() except? -1
cpdef object new_context()
cpdef enter_context(context)
cpdef leave_context(context)
