/* A Modbus TCP server for the bench: one epoll loop, many ports, many units, values that tell where and when they were read.
 *
 * modbus_server LINES UNITS PAIRS TICK_MS LOG
 *
 * Listens on LINES ports of 127.0.0.1 that the kernel chooses and prints them on one line. Registers 2p and 2p+1 of a
 * unit are one float32, high word first: (tick % 1024) * 16384 + ((line * UNITS + unit - 1) * PAIRS + p) % 16384, where
 * tick = CLOCK_MONOTONIC [ms] / TICK_MS. Every value is an integer below 2^24, so float32 holds it exactly: whoever reads
 * it can tell point and time of it.
 *
 * SIGUSR1: every third unit of every second line never answers any more. SIGUSR2: all answer again.
 * At SIGTERM each request's arrival is written to LOG as records of int64 CLOCK_MONOTONIC [ns], int32 line, int32 unit;
 * "-" keeps no log.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define MOST_SOCKETS 4096
#define MOST_RECORDS (4u << 20)

struct socket_state {
    int line;
    int listening;
    int filled;
    uint8_t buffer[4096];
};

struct record {
    int64_t monotonic_ns;
    int32_t line, unit;
};

static int lines, units, pairs, tick_ms;
static volatile sig_atomic_t some_dead, ended;
static struct socket_state *sockets[MOST_SOCKETS];
static struct record *records;
static size_t recorded;

static void on_signal(int number) {
    if (number == SIGUSR1) some_dead = 1;
    else if (number == SIGUSR2) some_dead = 0;
    else ended = 1;
}

static int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

static int reply_to(const uint8_t *request, int line, int64_t now_ns, uint8_t *reply) {
    unsigned unit = request[6], function = request[7], first = get16(request + 8), count = get16(request + 10);
    memcpy(reply, request, 4);
    reply[6] = (uint8_t)unit;
    reply[7] = (uint8_t)function;
    if ((function != 3 && function != 4) || count < 1 || count > 125 || unit < 1 || unit > (unsigned)units) {
        put16(reply + 4, 3);
        reply[7] |= 0x80;
        reply[8] = function != 3 && function != 4 ? 1 : 2;
        return 9;
    }
    unsigned tick = (unsigned)(now_ns / 1000000 / tick_ms % 1024);
    unsigned base = ((unsigned)line * units + unit - 1) * pairs;
    for (unsigned i = 0; i < count; i++) {
        float value = (float)(tick * 16384 + (base + (first + i) / 2) % 16384);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        put16(reply + 9 + 2 * i, (first + i) % 2 ? bits & 0xffff : bits >> 16);
    }
    put16(reply + 4, 3 + 2 * count);
    reply[8] = (uint8_t)(2 * count);
    return (int)(9 + 2 * count);
}

static int is_dead(int line, int unit) { return some_dead && line % 2 == 0 && unit == 3; }

static void take(int fd, struct socket_state *state) {
    uint8_t reply[300];
    int used = 0;
    while (state->filled - used >= 12) { /* every reading request is 12 bytes */
        const uint8_t *request = state->buffer + used;
        int64_t now_ns = monotonic_ns();
        used += 6 + (int)get16(request + 4);
        if (records && recorded < MOST_RECORDS)
            records[recorded++] = (struct record){now_ns, state->line, request[6]};
        if (is_dead(state->line, request[6])) continue;
        int length = reply_to(request, state->line, now_ns, reply);
        if (write(fd, reply, (size_t)length) != length) return; /* replies are small: a peer that is gone */
    }
    if (used > state->filled) used = state->filled;
    memmove(state->buffer, state->buffer + used, (size_t)(state->filled - used));
    state->filled -= used;
}

static void watch(int epoll, int fd, int line, int listening) {
    if (fd >= MOST_SOCKETS) { close(fd); return; }
    sockets[fd] = calloc(1, sizeof *sockets[fd]);
    sockets[fd]->line = line;
    sockets[fd]->listening = listening;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void listen_on(int epoll, int line) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 64)) { perror("listen"); exit(1); }
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("%d%c", ntohs(address.sin_port), line == lines - 1 ? '\n' : ' ');
    watch(epoll, fd, line, 1);
}

static void serve(int epoll, int fd) {
    struct socket_state *state = sockets[fd];
    if (state->listening) {
        int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK), on = 1;
        if (peer < 0) return;
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(epoll, peer, state->line, 0);
        return;
    }
    ssize_t got = read(fd, state->buffer + state->filled, sizeof state->buffer - (size_t)state->filled);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        close(fd);
        free(state);
        sockets[fd] = NULL;
        return;
    }
    state->filled += (int)got;
    take(fd, state);
}

int main(int argc, char **argv) {
    if (argc != 6) { fprintf(stderr, "modbus_server LINES UNITS PAIRS TICK_MS LOG\n"); return 2; }
    lines = atoi(argv[1]), units = atoi(argv[2]), pairs = atoi(argv[3]), tick_ms = atoi(argv[4]);
    if (strcmp(argv[5], "-")) records = malloc(MOST_RECORDS * sizeof *records);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    int epoll = epoll_create1(0);
    for (int line = 0; line < lines; line++) listen_on(epoll, line);
    fflush(stdout);
    pid_t parent = getppid();
    struct epoll_event events[256];
    while (!ended && getppid() == parent) { /* never outlives the bench */
        int n = epoll_wait(epoll, events, 256, 1000);
        for (int i = 0; i < n; i++) serve(epoll, events[i].data.fd);
    }
    if (records) {
        FILE *file = fopen(argv[5], "wb");
        if (!file || fwrite(records, sizeof *records, recorded, file) != recorded || fclose(file)) return 1;
    }
    return 0;
}
