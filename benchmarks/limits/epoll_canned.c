/* The machine's limit: one epoll loop that answers each end of a request head with the same octets, and looks at
 * nothing else. No limits, no checks: a yardstick, not a server.
 *
 *     gcc -O2 -o epoll_canned epoll_canned.c && ./epoll_canned PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 64 /* answers in one write: more than the benchmark pipelines */

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n"
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nHello, world!";
static char answers[MOST * sizeof ANSWER];

static int listen_at(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, sock = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(sock, (struct sockaddr *)&address, sizeof address) || listen(sock, 2048)) {
        perror("listen");
        exit(1);
    }
    return sock;
}

static void answer(int sock) {
    char data[65536];
    ssize_t got = read(sock, data, sizeof data);
    if (got <= 0) {
        close(sock);
        return;
    }
    int heads = 0;
    for (char *end = data; (end = memmem(end, data + got - end, "\r\n\r\n", 4)) && heads < MOST; end += 4)
        heads++;
    if (heads && write(sock, answers, heads * (sizeof ANSWER - 1)) < 0)
        close(sock);
}

int main(int count, char **words) {
    if (count != 2)
        return 2;
    int listener = listen_at(atoi(words[1])), poll = epoll_create1(0), one = 1;
    for (int number = 0; number < MOST; number++)
        memcpy(answers + number * (sizeof ANSWER - 1), ANSWER, sizeof ANSWER - 1);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, 256, -1);
        for (int number = 0; number < ready; number++) {
            if (events[number].data.fd != listener) {
                answer(events[number].data.fd);
                continue;
            }
            int sock;
            while ((sock = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = sock;
                epoll_ctl(poll, EPOLL_CTL_ADD, sock, &event);
            }
        }
    }
}
