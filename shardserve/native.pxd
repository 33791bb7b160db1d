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

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/socket.h>
    /* The GIL is kept: none of these waits, and to give it up and take it again costs as much as they do. */

    static inline PyObject *shardserve_receive(int descriptor) {
        char octets[65536];
        ssize_t size = recv(descriptor, octets, sizeof octets, MSG_DONTWAIT);
        if (size >= 0)
            return PyBytes_FromStringAndSize(octets, size);
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            Py_RETURN_NONE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }

    static inline Py_ssize_t shardserve_transmit(int descriptor, PyObject *object) {
        const int how = MSG_DONTWAIT | MSG_NOSIGNAL;
        ssize_t size;
        if (PyBytes_CheckExact(object))
            size = send(descriptor, PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object), how);
        else {
            Py_buffer octets;
            if (PyObject_GetBuffer(object, &octets, PyBUF_SIMPLE) < 0)
                return -1;
            size = send(descriptor, octets.buf, octets.len, how);
            PyBuffer_Release(&octets);
        }
        if (size >= 0)
            return size;
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            return 0;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }

    #ifdef __linux__
    #include <sys/epoll.h>
    static inline PyObject *shardserve_poll_ready(PyObject *epoll) {
        struct epoll_event events[64];
        int descriptor = PyObject_AsFileDescriptor(epoll);
        int at, found = descriptor < 0 ? 0 : epoll_wait(descriptor, events, 64, 0);
        PyObject *ready;
        if (descriptor < 0)
            return NULL;
        if (found < 0 && errno != EINTR)
            return PyErr_SetFromErrno(PyExc_OSError);
        ready = PyList_New(found < 0 ? 0 : found);
        for (at = 0; ready != NULL && at < found; at++) {
            PyObject *event = PyLong_FromLong((long)events[at].data.fd << 5 | (events[at].events & 31));
            if (event == NULL)
                Py_CLEAR(ready);
            else
                PyList_SET_ITEM(ready, at, event);
        }
        return ready;
    }
    #else
    static inline PyObject *shardserve_poll_ready(PyObject *epoll) {
        return PyList_New(0);  /* nobody asks: there is no epoll */
    }
    #endif
    """
    bytes c_receive "shardserve_receive" (int descriptor)
    Py_ssize_t c_transmit "shardserve_transmit" (int descriptor, object octets) except -1
    list c_poll_ready "shardserve_poll_ready" (object epoll)

cpdef long long monotonic_ns() except? -1
cpdef long long second() except? -1
cpdef object new_context()
cpdef enter_context(context)
cpdef leave_context(context)
cpdef bytes receive(int descriptor)
cpdef Py_ssize_t transmit(int descriptor, octets) except -1
cpdef list poll_ready(epoll)
