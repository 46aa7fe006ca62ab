/* Internal control variables: what the environment says, and what programs ask and set. */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "runtime.h"

int omp_cancellation, omp_elastic, omp_priority_max, omp_list_count, omp_list[LEVELS_MAX];
int omp_spins = 2000;
size_t omp_stack_size;
static struct icv initial;
static int started, starting, processors, bind_list[LEVELS_MAX], bind_count, display_affinity;
static int teams_wanted, teams_limit;
static char affinity_format[256] = "level %L thread %i affinity %A";

void omp_fatal(const char *what, const char *remedy) {
    char text[512];
    int length = snprintf(text, sizeof text, "%s; %s", what, remedy);
    omp_host_fault(IN_LIBRARY, text, length);
}

void omp_misused(enum construct construct, const char *what) { omp_host_fault(construct, what, (int)strlen(what)); }

static void ignored(const char *name, const char *value) {
    fprintf(stderr, "OpenMP: %s=%s is not understood and is ignored\n", name, value);
}

static int boolean(const char *name, int otherwise) {
    const char *value = getenv(name);
    if (!value || !*value) return otherwise;
    if (!strcasecmp(value, "true") || !strcmp(value, "1") || !strcasecmp(value, "yes") || !strcasecmp(value, "on"))
        return 1;
    if (!strcasecmp(value, "false") || !strcmp(value, "0") || !strcasecmp(value, "no") || !strcasecmp(value, "off"))
        return 0;
    ignored(name, value);
    return otherwise;
}

static int number(const char *name, int smallest, int otherwise) {
    const char *value = getenv(name);
    if (!value || !*value) return otherwise;
    char *end;
    long parsed = strtol(value, &end, 10);
    while (isspace((unsigned char)*end)) end++;
    if (end != value && !*end && parsed >= smallest) return (int)parsed;
    ignored(name, value);
    return otherwise;
}

static void thread_list(void) {
    const char *value = getenv("OMP_NUM_THREADS"), *at = value;
    if (!value || !*value) return;
    while (omp_list_count < LEVELS_MAX) {
        char *end;
        long parsed = strtol(at, &end, 10);
        while (isspace((unsigned char)*end)) end++;
        if (end == at || parsed < 1 || (*end && *end != ',')) {
            ignored("OMP_NUM_THREADS", value);
            omp_list_count = 0;
            return;
        }
        omp_list[omp_list_count++] = parsed > THREADS_MAX ? THREADS_MAX : (int)parsed;
        if (!*end) return;
        at = end + 1;
    }
}

static void schedule(void) {
    static const struct {
        const char *name;
        omp_sched_t schedule;
    } kinds[] = {{"static", omp_sched_static}, {"dynamic", omp_sched_dynamic}, {"guided", omp_sched_guided},
                 {"auto", omp_sched_auto}};
    const char *value = getenv("OMP_SCHEDULE"), *at = value;
    initial.schedule = omp_sched_static;
    initial.chunk = 0;
    if (!value || !*value) return;
    int monotonic = !strncasecmp(at, "monotonic:", 10);
    if (monotonic) at += 10;
    else if (!strncasecmp(at, "nonmonotonic:", 13)) at += 13;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t length = strlen(kinds[i].name);
        if (strncasecmp(at, kinds[i].name, length)) continue;
        at += length;
        while (isspace((unsigned char)*at)) at++;
        char *end = (char *)at;
        long chunk = *at == ',' ? strtol(at + 1, &end, 10) : 0;
        if (*end || chunk < 0) break;
        initial.schedule = (omp_sched_t)((unsigned)kinds[i].schedule | (monotonic ? (unsigned)omp_sched_monotonic : 0));
        initial.chunk = (int)chunk;
        return;
    }
    ignored("OMP_SCHEDULE", value);
}

static void stack_size(void) {
    const char *value = getenv("OMP_STACKSIZE");
    if (!value || !*value) return;
    char *end;
    double size = strtod(value, &end);
    while (isspace((unsigned char)*end)) end++;
    double unit = 1024;
    switch (tolower((unsigned char)*end)) {
    case 'b': unit = 1; break;
    case 'm': unit = 1024 * 1024; break;
    case 'g': unit = 1024.0 * 1024 * 1024; break;
    case 'k': case 0: break;
    default: size = 0;
    }
    if (size * unit < 4096 || size * unit > 3e9) return ignored("OMP_STACKSIZE", value);
    omp_stack_size = (size_t)(size * unit);
    __faasm_default_stack(omp_stack_size);
}

static void bind(void) {
    static const char *const names[] = {"false", "true", "primary", "close", "spread"};
    const char *value = getenv("OMP_PROC_BIND"), *at = value;
    if (!value || !*value) return;
    while (bind_count < LEVELS_MAX) {
        size_t length = strcspn(at, ",");
        int found = -1;
        for (int i = 0; i < 5; i++)
            if (length == strlen(names[i]) && !strncasecmp(at, names[i], length)) found = i;
        if (length == 6 && !strncasecmp(at, "master", 6)) found = omp_proc_bind_primary;
        if (found < 0) {
            bind_count = 0;
            return ignored("OMP_PROC_BIND", value);
        }
        bind_list[bind_count++] = found;
        if (!at[length]) break;
        at += length + 1;
    }
    initial.bind = bind_list[0];
}

static void read_environment(void) {
    processors = __faasm_host_processors();
    if (processors < 1) processors = 1;
    if (omp_nodes > 1) processors *= omp_nodes;
    thread_list();
    schedule();
    stack_size();
    bind();
    initial.threads = omp_list_count ? omp_list[0] : processors;
    omp_elastic = boolean("FAASM_OMP_ELASTIC", 0);
    initial.dynamic = boolean("OMP_DYNAMIC", omp_elastic);
    int nested = omp_list_count > 1 || bind_count > 1 || boolean("OMP_NESTED", 0);
    initial.max_active_levels = number("OMP_MAX_ACTIVE_LEVELS", 0, nested ? LEVELS_MAX : 1);
    initial.thread_limit = number("OMP_THREAD_LIMIT", 1, THREADS_MAX);
    initial.device = number("OMP_DEFAULT_DEVICE", 0, 0);
    initial.allocator = omp_default_mem_alloc;
    omp_priority_max = number("OMP_MAX_TASK_PRIORITY", 0, 0);
    omp_cancellation = boolean("OMP_CANCELLATION", 0);
    teams_wanted = number("OMP_NUM_TEAMS", 1, 0);
    teams_limit = number("OMP_TEAMS_THREAD_LIMIT", 1, 0);
    display_affinity = boolean("OMP_DISPLAY_AFFINITY", 0);
    const char *format = getenv("OMP_AFFINITY_FORMAT");
    if (format && *format) omp_set_affinity_format(format);
    const char *policy = getenv("OMP_WAIT_POLICY");
    if (policy && !strcasecmp(policy, "active")) omp_spins = 100000;
    else if (policy && !strcasecmp(policy, "passive")) omp_spins = 1;
    const char *display = getenv("OMP_DISPLAY_ENV");
    if (display && *display && strcasecmp(display, "false") && strcmp(display, "0")) {
        started = 1;
        omp_display_env(!strcasecmp(display, "verbose"));
    }
}

/* Two threads of the program's own may come here at once. */
void omp_initial_icv(struct icv *into) {
    static volatile int lock;
    if (!__atomic_load_n(&started, __ATOMIC_ACQUIRE)) {
        __faasm_lock(&lock);
        if (!starting) {
            starting = 1;
            read_environment();
            __atomic_store_n(&started, 1, __ATOMIC_RELEASE);
        }
        __faasm_unlock(&lock);
    }
    *into = initial;
}

int omp_processors(void) { return processors; }

static struct icv *mine(void) { return &self_thread()->task->icv; }

void omp_set_num_threads(int count) {
    if (count > 0) mine()->threads = count > THREADS_MAX ? THREADS_MAX : count;
}
int omp_get_max_threads(void) {
    struct icv *icv = mine();
    return icv->threads < icv->thread_limit ? icv->threads : icv->thread_limit;
}
int omp_get_num_threads(void) { return self_thread()->team->size; }
int omp_get_thread_num(void) { return self_thread()->number; }
int omp_get_num_procs(void) {
    self_thread();
    return processors;
}
int omp_in_parallel(void) { return self_thread()->team->active_level > 0; }
void omp_set_dynamic(int on) { mine()->dynamic = on != 0; }
int omp_get_dynamic(void) { return mine()->dynamic; }
void omp_set_nested(int on) { mine()->max_active_levels = on ? LEVELS_MAX : 1; }
int omp_get_nested(void) { return mine()->max_active_levels > 1; }
int omp_get_cancellation(void) {
    self_thread();
    return omp_cancellation;
}
void omp_set_schedule(omp_sched_t kind, int chunk) {
    int plain = (int)kind & 0x7fffffff;
    if (plain < 1 || plain > 4) return;
    mine()->schedule = kind;
    mine()->chunk = chunk > 0 && plain != omp_sched_auto ? chunk : 0;
}
void omp_get_schedule(omp_sched_t *kind, int *chunk) {
    *kind = mine()->schedule;
    *chunk = mine()->chunk ? mine()->chunk : ((int)*kind & 7) != omp_sched_static;
}
int omp_get_thread_limit(void) { return mine()->thread_limit; }
int omp_get_supported_active_levels(void) { return LEVELS_MAX; }
void omp_set_max_active_levels(int levels) {
    if (levels >= 0) mine()->max_active_levels = levels > LEVELS_MAX ? LEVELS_MAX : levels;
}
int omp_get_max_active_levels(void) { return mine()->max_active_levels; }
int omp_get_level(void) { return self_thread()->team->level; }
int omp_get_active_level(void) { return self_thread()->team->active_level; }

static struct team *ancestor(int level, int *number) {
    struct thread *self = self_thread();
    struct team *team = self->team;
    *number = self->number;
    if (level < 0 || level > team->level) return NULL;
    while (team->level > level) {
        *number = team->master_number;
        team = team->outer;
    }
    return team;
}
int omp_get_ancestor_thread_num(int level) {
    int number;
    return ancestor(level, &number) ? number : -1;
}
int omp_get_team_size(int level) {
    int number;
    struct team *team = ancestor(level, &number);
    return team ? team->size : -1;
}
int omp_in_final(void) { return self_thread()->task->final; }
int omp_in_explicit_task(void) { return !self_thread()->task->implicit; }
int omp_get_max_task_priority(void) {
    self_thread();
    return omp_priority_max;
}

/* Places: one for each processor; threads are not bound to them. */
omp_proc_bind_t omp_get_proc_bind(void) { return (omp_proc_bind_t)mine()->bind; }
int omp_get_num_places(void) { return omp_get_num_procs(); }
int omp_get_place_num_procs(int place) { return place >= 0 && place < omp_get_num_procs(); }
void omp_get_place_proc_ids(int place, int *ids) {
    if (omp_get_place_num_procs(place)) ids[0] = place;
}
int omp_get_place_num(void) { return self_thread()->number % omp_get_num_procs(); }
int omp_get_partition_num_places(void) { return omp_get_num_procs(); }
void omp_get_partition_place_nums(int *places) {
    for (int i = 0; i < omp_get_num_procs(); i++) places[i] = i;
}
void omp_set_affinity_format(const char *format) { snprintf(affinity_format, sizeof affinity_format, "%s", format); }
size_t omp_get_affinity_format(char *buffer, size_t size) {
    if (size) snprintf(buffer, size, "%s", affinity_format);
    return strlen(affinity_format);
}

static int field(char *into, size_t size, char letter, const char *name) {
    static const struct {
        const char *name;
        char letter;
    } names[] = {{"team_num", 't'}, {"num_teams", 'T'}, {"nesting_level", 'L'}, {"thread_num", 'n'},
                 {"num_threads", 'N'}, {"ancestor_tnum", 'a'}, {"host", 'H'}, {"process_id", 'P'},
                 {"native_thread_id", 'i'}, {"thread_affinity", 'A'}};
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i].name)) letter = names[i].letter;
    switch (letter) {
    case 't': return snprintf(into, size, "%d", omp_get_team_num());
    case 'T': return snprintf(into, size, "%d", omp_get_num_teams());
    case 'L': return snprintf(into, size, "%d", omp_get_level());
    case 'n': return snprintf(into, size, "%d", omp_get_thread_num());
    case 'N': return snprintf(into, size, "%d", omp_get_num_threads());
    case 'a': return snprintf(into, size, "%d", omp_get_ancestor_thread_num(omp_get_level() - 1));
    case 'H': return snprintf(into, size, "%s", getenv("FAASM_HOSTNAME") ? getenv("FAASM_HOSTNAME") : "localhost");
    case 'P': return snprintf(into, size, "%d", (int)getpid());
    case 'i': return snprintf(into, size, "%d", __faasm_host_self());
    case 'A': return snprintf(into, size, "0-%d", omp_get_num_procs() - 1);
    default: return snprintf(into, size, "undefined");
    }
}

size_t omp_capture_affinity(char *buffer, size_t size, const char *format) {
    size_t used = 0;
    char text[300];
    if (!format || !*format) format = affinity_format;
    for (const char *at = format; *at; at++) {
        int length = 1;
        text[0] = *at;
        if (*at == '%' && at[1]) {
            at++;
            int right = 0, zero = 0, width = 0;
            char name[32] = "", value[256];
            if (*at == '0') zero = 1, at++;
            if (*at == '.') right = 1, at++;
            while (isdigit((unsigned char)*at)) width = width * 10 + (*at++ - '0');
            if (*at == '{') {
                size_t n = strcspn(at + 1, "}");
                snprintf(name, sizeof name, "%.*s", (int)n, at + 1);
                at += n + (at[n + 1] == '}');
            }
            if (*at == '%') {
                length = 1;
            } else {
                field(value, sizeof value, *at, *name ? name : NULL);
                if (width > 250) width = 250;
                if (zero && right) length = snprintf(text, sizeof text, "%0*d", width, atoi(value));
                else length = snprintf(text, sizeof text, right ? "%*s" : "%-*s", width, value);
            }
        }
        for (int i = 0; i < length; i++, used++)
            if (used + 1 < size) buffer[used] = text[i];
    }
    if (size) buffer[used < size ? used : size - 1] = 0;
    return used;
}
/* At the start of a region, where OMP_DISPLAY_AFFINITY asks for it: what has changed since this thread said so last. */
void omp_tell_affinity(struct thread *self) {
    if (!display_affinity) return;
    char text[512];
    omp_capture_affinity(text, sizeof text, NULL);
    if (self->told && !strcmp(self->told, text)) return;
    free(self->told);
    self->told = strdup(text);
    puts(text);
}

void omp_display_affinity(const char *format) {
    char text[512];
    omp_capture_affinity(text, sizeof text, format);
    puts(text);
}

/* Teams. */
int omp_get_num_teams(void) { return self_thread()->team->teams ? self_thread()->team->teams : 1; }
int omp_get_team_num(void) { return self_thread()->team->team_number; }
void omp_set_num_teams(int count) { teams_wanted = count > 0 ? count : 0; }
int omp_get_max_teams(void) {
    self_thread();
    return teams_wanted;
}
void omp_set_teams_thread_limit(int limit) { teams_limit = limit > 0 ? limit : 0; }
int omp_get_teams_thread_limit(void) {
    self_thread();
    return teams_limit;
}

void omp_display_env(int verbose) {
    static const char *const kinds[] = {"", "STATIC", "DYNAMIC", "GUIDED", "AUTO"};
    static const char *const binds[] = {"FALSE", "TRUE", "PRIMARY", "CLOSE", "SPREAD"};
    if (!started) self_thread();
    fputs("OPENMP DISPLAY ENVIRONMENT BEGIN\n  _OPENMP = '202011'\n", stderr);
#define SHOW(name, ...) fprintf(stderr, "  [host] " name " = '" __VA_ARGS__), fputs("'\n", stderr)
    SHOW("OMP_DYNAMIC", "%s", initial.dynamic ? "TRUE" : "FALSE");
    fputs("  [host] OMP_NUM_THREADS = '", stderr);
    if (!omp_list_count) fprintf(stderr, "%d", initial.threads);
    for (int i = 0; i < omp_list_count; i++) fprintf(stderr, i ? ",%d" : "%d", omp_list[i]);
    fputs("'\n", stderr);
    if (initial.chunk) SHOW("OMP_SCHEDULE", "%s,%d", kinds[initial.schedule & 7], initial.chunk);
    else SHOW("OMP_SCHEDULE", "%s", kinds[initial.schedule & 7]);
    SHOW("OMP_PROC_BIND", "%s", binds[initial.bind]);
    fputs("  [host] OMP_PLACES = '", stderr);
    for (int i = 0; i < processors; i++) fprintf(stderr, i ? ",{%d}" : "{%d}", i);
    fputs("'\n", stderr);
    SHOW("OMP_STACKSIZE", "%lu", (unsigned long)__faasm_default_stack(0));
    SHOW("OMP_WAIT_POLICY", "%s", omp_spins > 2000 ? "ACTIVE" : "PASSIVE");
    SHOW("OMP_THREAD_LIMIT", "%d", initial.thread_limit);
    SHOW("OMP_MAX_ACTIVE_LEVELS", "%d", initial.max_active_levels);
    SHOW("OMP_NUM_TEAMS", "%d", teams_wanted);
    SHOW("OMP_TEAMS_THREAD_LIMIT", "%d", teams_limit);
    SHOW("OMP_CANCELLATION", "%s", omp_cancellation ? "TRUE" : "FALSE");
    SHOW("OMP_DEFAULT_DEVICE", "%d", initial.device);
    SHOW("OMP_MAX_TASK_PRIORITY", "%d", omp_priority_max);
    SHOW("OMP_DISPLAY_AFFINITY", "%s", display_affinity ? "TRUE" : "FALSE");
    SHOW("OMP_AFFINITY_FORMAT", "%s", affinity_format);
    SHOW("OMP_ALLOCATOR", "omp_default_mem_alloc");
    SHOW("OMP_TARGET_OFFLOAD", "DISABLED");
    if (verbose) SHOW("FAASM_PROCESSORS", "%d", processors);
    fputs("OPENMP DISPLAY ENVIRONMENT END\n", stderr);
}
