# See native.py.

cdef extern from "Python.h":
    object c_new_context "PyContext_New" ()
    int c_enter "PyContext_Enter" (object context) except -1
    int c_leave "PyContext_Exit" (object context) except -1
    object c_weak "PyWeakref_NewRef" (object what, object gone)

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

    /* The parts of a tuple in a row; None where one is not exactly bytes. */
    static PyObject *shardserve_join(PyObject *parts) {
        Py_ssize_t size = 0, count = PyTuple_GET_SIZE(parts);
        for (Py_ssize_t index = 0; index < count; index++) {
            PyObject *part = PyTuple_GET_ITEM(parts, index);
            if (!PyBytes_CheckExact(part) || PyBytes_GET_SIZE(part) > PY_SSIZE_T_MAX / 2 - size)
                Py_RETURN_NONE;
            size += PyBytes_GET_SIZE(part);
        }
        PyObject *joined = PyBytes_FromStringAndSize(NULL, size);
        if (joined == NULL)
            return NULL;
        char *to = PyBytes_AS_STRING(joined);
        for (Py_ssize_t index = 0; index < count; index++) {
            PyObject *part = PyTuple_GET_ITEM(parts, index);
            memcpy(to, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part));
            to += PyBytes_GET_SIZE(part);
        }
        return joined;
    }

    /* Octets as a chunk, with the last one behind it where there is no other; TypeError for what is not bytes. */
    static PyObject *shardserve_chunk(PyObject *octets, int last) {
        char line[18];  /* 16 digits and a line's end */
        Py_ssize_t size, first = 16;
        if (!PyBytes_Check(octets))
            return PyErr_Format(PyExc_TypeError, "a chunk is bytes, not %.200s", Py_TYPE(octets)->tp_name);
        size = PyBytes_GET_SIZE(octets);
        memcpy(line + 16, "\\r\\n", 2);
        for (size_t left = size; left > 0 || first == 16; left >>= 4)
            line[--first] = "0123456789abcdef"[left & 15];
        PyObject *chunk = PyBytes_FromStringAndSize(NULL, 18 - first + size + (last ? 7 : 2));
        if (chunk == NULL)
            return NULL;
        char *to = PyBytes_AS_STRING(chunk);
        memcpy(to, line + first, 18 - first);
        to += 18 - first;
        memcpy(to, PyBytes_AS_STRING(octets), size);
        memcpy(to + size, "\\r\\n0\\r\\n\\r\\n", last ? 7 : 2);
        return chunk;
    }

    /* getattr: what that does for a method of a compiled class, without the look around where it might be hidden. */
    static PyObject *shardserve_method(PyObject *owner, PyObject *name) {
        PyObject *found = _PyType_Lookup(Py_TYPE(owner), name);
        if (found != NULL && Py_IS_TYPE(found, &PyMethodDescr_Type)) {
            PyMethodDef *method = ((PyMethodDescrObject *)found)->d_method;
            if (!(method->ml_flags & METH_METHOD))
                return PyCFunction_NewEx(method, owner, NULL);
        }
        return PyObject_GetAttr(owner, name);
    }

    /* Behind the first line feed; 0 if there is none. */
    static inline Py_ssize_t shardserve_second_line(PyObject *octets) {
        const char *begin = PyBytes_AS_STRING(octets), *found = memchr(begin, '\\n', PyBytes_GET_SIZE(octets));
        return found == NULL ? 0 : found - begin + 1;
    }

    static inline int shardserve_holds(PyObject *octets, Py_ssize_t at, PyObject *part) {
        Py_ssize_t size = PyBytes_GET_SIZE(part);
        return at >= 0 && at <= PyBytes_GET_SIZE(octets) - size
            && memcmp(PyBytes_AS_STRING(octets) + at, PyBytes_AS_STRING(part), size) == 0;
    }

    /* Puts octets behind `at` others in a room; returns where they end, -1 if they do not fit. */
    static inline Py_ssize_t shardserve_put(
        unsigned char *room, Py_ssize_t size, Py_ssize_t at, const void *octets, Py_ssize_t count
    ) {
        if (count > size - at)
            return -1;
        memcpy(room + at, octets, count);
        return at + count;
    }

    static inline Py_ssize_t shardserve_put_octets(
        unsigned char *room, Py_ssize_t size, Py_ssize_t at, PyObject *octets
    ) {
        return shardserve_put(room, size, at, PyBytes_AS_STRING(octets), PyBytes_GET_SIZE(octets));
    }

    /* The same of a str, in latin-1; -1 also where that does not do. */
    static inline Py_ssize_t shardserve_put_text(
        unsigned char *room, Py_ssize_t size, Py_ssize_t at, PyObject *text
    ) {
    #if PY_VERSION_HEX < 0x030C0000
        if (!PyUnicode_IS_READY(text))
            return -1;  /* of an API that 3.12 has parted with */
    #endif
        if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND)
            return -1;
        return shardserve_put(room, size, at, PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
    }
    """
    Py_ssize_t c_second_line "shardserve_second_line" (bytes octets) noexcept
    bint c_holds "shardserve_holds" (bytes octets, Py_ssize_t at, bytes part) noexcept
    object c_method "shardserve_method" (object owner, str name)
    Py_ssize_t c_references "Py_REFCNT" (object owned) noexcept
    object c_join "shardserve_join" (tuple parts)
    bytes c_chunk "shardserve_chunk" (object octets, bint last)
    Py_ssize_t put_octets "shardserve_put_octets" (
        unsigned char* room, Py_ssize_t size, Py_ssize_t at, bytes octets
    ) noexcept
    Py_ssize_t put_text "shardserve_put_text" (unsigned char* room, Py_ssize_t size, Py_ssize_t at, str text) noexcept
    long long c_monotonic_ns "shardserve_monotonic_ns" () noexcept nogil
    long long c_second "shardserve_second" () noexcept nogil

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/socket.h>
    /* The GIL is kept: none of these waits, and to give it up and take it again costs as much as they do. Nor is one
       interrupted, since none waits (signal(7)). */

    #ifdef MSG_MORE
    #define SHARDSERVE_MORE MSG_MORE
    #else
    #define SHARDSERVE_MORE 0
    #endif

    /* The C library's recv and send are points at which a thread may be cancelled: where there are threads, each call
       announces that by two locked instructions, a hundredth of all the work for hello world. We cancel none. */
    #ifdef __linux__
    #include <sys/syscall.h>
    #include <unistd.h>
    #endif
    #if defined(SYS_recvfrom) && defined(SYS_sendto) && defined(__LP64__)
    #define shardserve_recv(descriptor, to, size, how) \\
        syscall(SYS_recvfrom, (long)(descriptor), to, (size_t)(size), (long)(how), NULL, NULL)
    #define shardserve_send(descriptor, from, size, how) \\
        syscall(SYS_sendto, (long)(descriptor), from, (size_t)(size), (long)(how), NULL, 0L)
    #else
    #define shardserve_recv recv
    #define shardserve_send send
    #endif

    static inline PyObject *shardserve_receive(int descriptor) {
        char octets[65536];
        ssize_t size = shardserve_recv(descriptor, octets, sizeof octets, MSG_DONTWAIT);
        if (size >= 0)
            return PyBytes_FromStringAndSize(octets, size);
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            Py_RETURN_NONE;
        return PyErr_SetFromErrno(PyExc_OSError);
    }

    /* The same, where much is expected: it is not copied once more. */
    static inline PyObject *shardserve_receive_much(int descriptor) {
        PyObject *octets = PyBytes_FromStringAndSize(NULL, 65536);
        ssize_t size;
        if (octets == NULL)
            return NULL;
        size = shardserve_recv(descriptor, PyBytes_AS_STRING(octets), 65536, MSG_DONTWAIT);
        if (size == 65536 || (size >= 0 && _PyBytes_Resize(&octets, size) == 0) || octets == NULL)
            return octets;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            Py_DECREF(octets);
            Py_RETURN_NONE;
        }
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(octets);
        return NULL;
    }

    static inline Py_ssize_t shardserve_transmit(int descriptor, PyObject *object, int last) {
        const int how = MSG_DONTWAIT | MSG_NOSIGNAL | (last ? SHARDSERVE_MORE : 0);
        ssize_t size;
        if (PyBytes_CheckExact(object))
            size = shardserve_send(descriptor, PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object), how);
        else {
            Py_buffer octets;
            if (PyObject_GetBuffer(object, &octets, PyBUF_SIMPLE) < 0)
                return -1;
            size = shardserve_send(descriptor, octets.buf, octets.len, how);
            PyBuffer_Release(&octets);
        }
        if (size >= 0)
            return size;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }

    #include <fcntl.h>
    #include <netinet/in.h>
    #include <arpa/inet.h>
    #include <sys/un.h>

    static inline char *shardserve_decimal(char *to, unsigned int number) {
        if (number >= 100)
            *to++ = '0' + number / 100;
        if (number >= 10)
            *to++ = '0' + number / 10 % 10;
        *to++ = '0' + number % 10;
        return to;
    }

    /* Of an object that is ours to give away, NULL if that has failed, and a number. */
    static PyObject *shardserve_pair(PyObject *first, int second) {
        PyObject *number = first == NULL ? NULL : PyLong_FromLong(second);
        PyObject *pair = number == NULL ? NULL : PyTuple_Pack(2, first, number);
        Py_XDECREF(first);
        Py_XDECREF(number);
        return pair;
    }

    /* An address as Connection.client and .server are; None where the socket module has to be asked (a scope of IPv6). */
    static PyObject *shardserve_name(const struct sockaddr_storage *address, socklen_t size) {
        char host[INET6_ADDRSTRLEN];
        if (address->ss_family == AF_INET) {
            const struct sockaddr_in *inet = (const struct sockaddr_in *)address;
            const unsigned char *octet = (const unsigned char *)&inet->sin_addr;
            char *to = shardserve_decimal(host, octet[0]);
            for (int at = 1; at < 4; at++) {
                *to++ = '.';
                to = shardserve_decimal(to, octet[at]);
            }
            return shardserve_pair(PyUnicode_FromStringAndSize(host, to - host), ntohs(inet->sin_port));
        }
        if (address->ss_family == AF_INET6) {
            const struct sockaddr_in6 *inet = (const struct sockaddr_in6 *)address;
            if (!inet->sin6_scope_id && inet_ntop(AF_INET6, &inet->sin6_addr, host, sizeof host) != NULL)
                return shardserve_pair(PyUnicode_FromString(host), ntohs(inet->sin6_port));
        }
        if (address->ss_family == AF_UNIX) {
            const struct sockaddr_un *path = (const struct sockaddr_un *)address;
            Py_ssize_t length = size - offsetof(struct sockaddr_un, sun_path);
            if (length <= 0)
                return PyUnicode_FromStringAndSize("", 0);  /* a client's: it has none */
            if (path->sun_path[0])
                return PyUnicode_DecodeFSDefaultAndSize(path->sun_path, strnlen(path->sun_path, length));
        }
        Py_RETURN_NONE;
    }

    static PyObject *shardserve_accept(PyObject *listener) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        int taken, descriptor = PyObject_AsFileDescriptor(listener);
        PyObject *name, *number, *both;
        if (descriptor < 0)
            return NULL;
    #ifdef SOCK_NONBLOCK
        taken = accept4(descriptor, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    #else
        taken = accept(descriptor, (struct sockaddr *)&address, &size);
        if (taken >= 0 && (fcntl(taken, F_SETFL, O_NONBLOCK) < 0 || fcntl(taken, F_SETFD, FD_CLOEXEC) < 0)) {
            close(taken);
            taken = -1;
        }
    #endif
        if (taken < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
                Py_RETURN_NONE;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        name = shardserve_name(&address, size);
        number = name == NULL ? NULL : PyLong_FromLong(taken);
        both = number == NULL ? NULL : PyTuple_Pack(2, number, name);
        Py_XDECREF(name);
        Py_XDECREF(number);
        if (both == NULL)
            close(taken);
        return both;
    }

    static inline int shardserve_end_writing(int descriptor) {
        if (shutdown(descriptor, SHUT_WR) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        return 0;
    }

    static inline int shardserve_close(int descriptor) {
        /* Interrupted, it is closed all the same (close(2)). That a connection was reset is no news. */
        if (close(descriptor) < 0 && errno != EINTR && errno != ECONNRESET) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        return 0;
    }

    static PyObject *shardserve_own_name(int descriptor) {
        /* The last one: nearly all connections come to one address. */
        static struct sockaddr_storage last;
        static socklen_t last_size = 0;
        static PyObject *last_name = NULL;
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        if (getsockname(descriptor, (struct sockaddr *)&address, &size) < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
        if (last_name == NULL || size != last_size || memcmp(&last, &address, size) != 0) {
            PyObject *name = shardserve_name(&address, size);
            if (name == NULL)
                return NULL;
            Py_XSETREF(last_name, name);
            memcpy(&last, &address, size);
            last_size = size;
        }
        return Py_NewRef(last_name);
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
            PyObject *event = PyLong_FromLong((long)events[at].data.fd << 14 | (events[at].events & 0x3fff));
            if (event == NULL)
                Py_CLEAR(ready);
            else
                PyList_SET_ITEM(ready, at, event);
        }
        return ready;
    }

    static inline int shardserve_control(PyObject *epoll, int how, int descriptor, int events) {
        struct epoll_event event;
        int instance = PyObject_AsFileDescriptor(epoll);
        memset(&event, 0, sizeof event);
        event.events = events | EPOLLET;
        event.data.fd = descriptor;
        if (instance < 0)
            return -1;
        if (epoll_ctl(instance, how, descriptor, &event) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        return 0;
    }
    #else
    /* Nobody calls these: there is no epoll. */
    static inline PyObject *shardserve_poll_ready(PyObject *epoll) {
        return PyList_New(0);
    }

    static inline int shardserve_control(PyObject *epoll, int how, int descriptor, int events) {
        return 0;
    }
    #endif
    """
    bytes c_receive "shardserve_receive" (int descriptor)
    bytes c_receive_much "shardserve_receive_much" (int descriptor)
    Py_ssize_t c_transmit "shardserve_transmit" (int descriptor, object octets, bint last) except -1
    list c_poll_ready "shardserve_poll_ready" (object epoll)
    int c_control "shardserve_control" (object epoll, int how, int descriptor, int events) except -1
    object c_accept "shardserve_accept" (object listener)
    object c_own_name "shardserve_own_name" (int descriptor)
    int c_end_writing "shardserve_end_writing" (int descriptor) except -1
    int c_close "shardserve_close" (int descriptor) except -1

cpdef long long monotonic_ns() except? -1
cpdef long long second() except? -1
cpdef object method(owner, str name)
cpdef object weak(what, gone)
cpdef bint holds(bytes octets, Py_ssize_t at, bytes part) except -1
cpdef Py_ssize_t second_line(bytes octets) except -1
cpdef bint is_unshared(object owned) except -1
cpdef bytes join(tuple parts)
cpdef bytes chunk(octets, bint last)
cpdef object new_context()
cpdef enter_context(context)
cpdef leave_context(context)
cpdef bytes receive(int descriptor, bint much)
cpdef Py_ssize_t transmit(int descriptor, octets, bint last) except -1
cpdef list poll_ready(epoll)
cpdef control(epoll, int how, int descriptor, int events)
cpdef tuple accept(listener)
cpdef object own_name(int descriptor)
cpdef end_writing(int descriptor)
cpdef close_socket(int descriptor)
