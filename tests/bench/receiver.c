/* A receiver of webhooks that is not the limit: one thread, answers at once, and knows which events it took.

   Prints the port that it listens on. A POST to /N is of sink N; it is answered with 200, or with what the last PUT /STATUS
   said. GET says, as JSON, what arrived since the last DELETE: how many requests, and how many events and different events
   that were answered with 200; from how many sinks; and when the first request of all was there, and the first of the sink
   that came last (CLOCK_MONOTONIC, seconds; 0: nothing came). An event is known by its "uid". */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SINKS = 65536, MOST = 64 << 20, UID = 36 };

struct connection {
    int fd;
    size_t size, room;
    char *bytes;
};

static const char MARK[] = "\"uid\":\"";
static uint64_t requests, events, distinct, sinks;
static int status = 200;
static double first, first_of_last;
static char seen[SINKS];
static uint64_t *known;
static size_t slots = 1 << 20;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *held(void *memory) {
    if (memory == NULL) fail("memory");
    return memory;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void place(uint64_t key) {
    size_t at = key & (slots - 1);
    while (known[at] != 0 && known[at] != key) at = (at + 1) & (slots - 1);
    if (known[at] == 0) {
        known[at] = key;
        distinct++;
    }
}

static void know(const char *uid) {
    uint64_t key = 14695981039346656037u;
    for (int at = 0; at < UID; at++) key = (key ^ (unsigned char)uid[at]) * 1099511628211u;
    place(key ? key : 1);
    if (2 * distinct < slots) return;
    uint64_t *before = known;
    size_t count = slots;
    slots *= 2;
    known = held(calloc(slots, sizeof *known));
    distinct = 0;
    for (size_t at = 0; at < count; at++)
        if (before[at]) place(before[at]);
    free(before);
}

static void take(unsigned long sink, const char *body, size_t size) {
    requests++;
    if (sink < SINKS && !seen[sink]) {
        seen[sink] = 1;
        sinks++;
        first_of_last = now();
        if (first == 0) first = first_of_last;
    }
    const char *end = body + (status == 200 ? size : 0);
    while ((body = memmem(body, end - body, MARK, sizeof MARK - 1)) != NULL && end - body >= (long)sizeof MARK - 1 + UID) {
        body += sizeof MARK - 1;
        events++;
        know(body);
    }
}

static void forget(void) {
    requests = events = distinct = sinks = 0;
    first = first_of_last = 0;
    memset(seen, 0, sizeof seen);
    memset(known, 0, slots * sizeof *known);
}

static void answer(int fd, int status, const char *content) {
    char text[512];
    int size = snprintf(text, sizeof text, "HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        status, strlen(content), content);
    /* As small as it is, it fits; where it does not, the connection is gone. */
    if (send(fd, text, size, MSG_NOSIGNAL) != size) shutdown(fd, SHUT_RDWR);
}

/* How many bytes the request at the beginning has; 0: it is not complete. It ends with a 0 byte. */
static size_t handle(int fd, char *bytes, size_t size) {
    char *head = memmem(bytes, size, "\r\n\r\n", 4);
    if (head == NULL) return 0;
    *head = 0;
    char *length = strcasestr(bytes, "\r\ncontent-length:");
    size_t body = length == NULL ? 0 : strtoul(length + 17, NULL, 10), whole = head + 4 - bytes + body;
    if (whole > size || whole > MOST) {
        *head = '\r';
        return 0;
    }
    if (strncmp(bytes, "POST /", 6) == 0) {
        take(strtoul(bytes + 6, NULL, 10), head + 4, body);
        answer(fd, status, "");
        return whole;
    }
    char text[256];
    if (strncmp(bytes, "DELETE ", 7) == 0) forget();
    if (strncmp(bytes, "PUT /", 5) == 0) status = atoi(bytes + 5);
    snprintf(text, sizeof text,
             "{\"requests\":%lu,\"events\":%lu,\"distinct\":%lu,\"sinks\":%lu,\"first\":%.6f,\"first_of_last\":%.6f}",
             requests, events, distinct, sinks, first, first_of_last);
    answer(fd, 200, text);
    return whole;
}

/* Whether the connection goes on. */
static int go_on(struct connection *one) {
    if (one->room - one->size < 65536) {
        one->room = one->room ? 2 * one->room : 131072;
        if (one->room > 2 * (size_t)MOST) return 0;
        one->bytes = held(realloc(one->bytes, one->room));
    }
    ssize_t count = recv(one->fd, one->bytes + one->size, one->room - one->size - 1, 0);
    if (count <= 0) return count < 0 && (errno == EAGAIN || errno == EINTR);
    one->size += count;
    one->bytes[one->size] = 0;
    size_t done = 0, whole;
    while ((whole = handle(one->fd, one->bytes + done, one->size - done)) > 0) done += whole;
    one->size -= done;
    memmove(one->bytes, one->bytes + done, one->size);
    return 1;
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct rlimit files;
    int on = 1, door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = NULL}, ready[256];
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    known = held(calloc(slots, sizeof *known));
    if (bind(door, (struct sockaddr *)&address, size) || listen(door, 4096)) fail("listen");
    if (getsockname(door, (struct sockaddr *)&address, &size)) fail("getsockname");
    if (epoll_ctl(poll, EPOLL_CTL_ADD, door, &wanted)) fail("epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll, ready, 256, -1);
        for (int at = 0; at < count; at++) {
            struct connection *one = ready[at].data.ptr;
            if (one == NULL) {
                int fd = accept4(door, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                one = held(calloc(1, sizeof *one));
                one->fd = fd;
                wanted.data.ptr = one;
                if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &wanted)) fail("epoll_ctl");
            } else if (!go_on(one)) {
                close(one->fd);
                free(one->bytes);
                free(one);
            }
        }
    }
}
