/* The C client that the bench compares with: libmodbus, blocking, one connection a line, whole blocks, one after the other.
 *
 * libmodbus_client PLAN WARM_MS WINDOW_MS PERIOD_MS UNITS PAIRS TICK_MS
 *
 * PLAN has a request a line: "port line unit first count". All requests are made over and over, at once again or every
 * PERIOD_MS. Every float32 becomes a row of index, value, quality and two times, as ours does. CPU is getrusage of this
 * process over the window; rows are held and checked after it. Prints one JSON object.
 */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define MOST_REQUESTS 4096

struct request {
    int port, line, unit, first, count;
    modbus_t *link;
};

struct row {
    double value;
    int64_t receive_time_ms, monotonic_ns;
    int32_t index;
    uint16_t quality;
};

static struct request requests[MOST_REQUESTS];
static int request_count, first_row[MOST_REQUESTS];
static struct row *rows;
static size_t held, most, failures;

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void read_plan(const char *path) {
    FILE *file = fopen(path, "r");
    struct request *r = requests;
    if (!file) { perror(path); exit(1); }
    while (r < requests + MOST_REQUESTS &&
           fscanf(file, "%d %d %d %d %d", &r->port, &r->line, &r->unit, &r->first, &r->count) == 5) {
        int i = (int)(r - requests);
        for (int j = 0; j < i && !r->link; j++)
            if (requests[j].port == r->port) r->link = requests[j].link;
        if (!r->link) {
            r->link = modbus_new_tcp("127.0.0.1", r->port);
            if (modbus_connect(r->link)) { fprintf(stderr, "connect: %s\n", modbus_strerror(errno)); exit(1); }
            int on = 1;
            setsockopt(modbus_get_socket(r->link), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        first_row[i] = i ? first_row[i - 1] + requests[i - 1].count / 2 : 0;
        r++;
    }
    fclose(file);
    request_count = (int)(r - requests);
}

static void ask(int i, int keep) {
    uint16_t registers[125];
    struct request *r = &requests[i];
    modbus_set_slave(r->link, r->unit);
    if (modbus_read_registers(r->link, r->first, r->count, registers) != r->count) { failures++; return; }
    int64_t wall_ms = now_ns(CLOCK_REALTIME) / 1000000, monotonic = now_ns(CLOCK_MONOTONIC);
    for (int k = 0; k < r->count / 2 && held < most; k++)
        rows[held + (size_t)k] = (struct row){modbus_get_float_abcd(registers + 2 * k), wall_ms, monotonic, first_row[i] + k, 0};
    if (keep) held += (size_t)(r->count / 2);
}

static size_t wrong_rows(int units, int pairs, int tick_ms) {
    size_t wrong = 0;
    for (size_t n = 0; n < held; n++) {
        int i = 0;
        while (i + 1 < request_count && first_row[i + 1] <= rows[n].index) i++;
        struct request *r = &requests[i];
        int pair = r->first / 2 + rows[n].index - first_row[i];
        int64_t value = (int64_t)rows[n].value, tick = rows[n].monotonic_ns / 1000000 / tick_ms;
        int64_t age = (tick - value / 16384 + 2048) % 1024;
        wrong += value % 16384 != ((r->line * units + r->unit - 1) * pairs + pair) % 16384 || age > 1000 / tick_ms + 1;
    }
    return wrong;
}

int main(int argc, char **argv) {
    if (argc != 8) return 2;
    read_plan(argv[1]);
    int64_t warm_ns = atoll(argv[2]) * 1000000, window_ns = atoll(argv[3]) * 1000000, period_ns = atoll(argv[4]) * 1000000;
    most = 40u << 20;
    rows = malloc(most * sizeof *rows);
    int64_t begun = now_ns(CLOCK_MONOTONIC), slot = begun, window_begun = 0;
    double cpu = 0;
    size_t before = 0;
    for (;;) {
        int64_t now = now_ns(CLOCK_MONOTONIC);
        if (!window_begun && now - begun >= warm_ns) window_begun = now, cpu = cpu_s(), before = failures;
        if (window_begun && now - window_begun >= window_ns) break;
        for (int i = 0; i < request_count; i++) ask(i, window_begun != 0);
        if (period_ns) {
            slot += period_ns;
            struct timespec at = {slot / 1000000000, slot % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        }
    }
    double used = cpu_s() - cpu, wall = (now_ns(CLOCK_MONOTONIC) - window_begun) / 1e9;
    printf("{\"points\": %zu, \"cpu_s\": %.6f, \"wall_s\": %.6f, \"lost\": %zu, \"wrong\": %zu}\n", held, used, wall,
           failures - before, wrong_rows(atoi(argv[5]), atoi(argv[6]), atoi(argv[7])));
    return 0;
}
