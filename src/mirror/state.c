#include "mirror/state.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rseq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"

enum { SIGNAL_COUNT = 64, PATH_BYTES_MAX = 4096, NAME_BYTES = 16 };

/* struct sigaction as the kernel has it, the same on both architectures but for the restorer that one of them
 * ignores. */
typedef struct {
  guint64 handler, flags, restorer, mask;
} KernelAction;

typedef struct {
  guint64 sp;
  gint32 flags, zero;
  guint64 size;
} KernelStack;

typedef struct {
  guint64 mask, robust_head, robust_length, tid_address;
  KernelStack stack;
  char name[NAME_BYTES];
} ThreadRest;

typedef struct {
  guint64 brk;
  guint32 umask, directory_length;
  /* then the working directory */
} MiscHead;

static void
unref_bytes(gpointer bytes)
{
  g_bytes_unref(bytes);
}

MirrorState *
mirror_state_new(void)
{
  return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, unref_bytes);
}

GBytes *
mirror_state_get(const MirrorState *state, guint32 kind, guint32 id)
{
  guint64 key = mirror_section_key(kind, id);
  return g_hash_table_lookup((GHashTable *)state, &key);
}

void
mirror_state_set(MirrorState *state, guint32 kind, guint32 id, GBytes *bytes)
{
  guint64 key = mirror_section_key(kind, id);
  if (bytes)
    g_hash_table_insert(state, g_memdup2(&key, sizeof key), bytes);
  else
    g_hash_table_remove(state, &key);
}

void
mirror_section_free(MirrorSection *section)
{
  if (section->bytes)
    g_bytes_unref(section->bytes);
  g_free(section);
}

static void
add_section(GPtrArray *sections, guint64 key, GBytes *bytes)
{
  MirrorSection *section = g_new(MirrorSection, 1);
  *section = (MirrorSection){key >> 32, (guint32)key, bytes ? g_bytes_ref(bytes) : NULL};
  g_ptr_array_add(sections, section);
}

GPtrArray *
mirror_state_difference(const MirrorState *agreed, const MirrorState *now)
{
  GPtrArray *sections = g_ptr_array_new_with_free_func((GDestroyNotify)mirror_section_free);
  GHashTableIter iterator;
  gpointer key, bytes;
  g_hash_table_iter_init(&iterator, (GHashTable *)now);
  while (g_hash_table_iter_next(&iterator, &key, &bytes)) {
    GBytes *former = agreed ? g_hash_table_lookup((GHashTable *)agreed, key) : NULL;
    if (!former || !g_bytes_equal(former, bytes))
      add_section(sections, *(guint64 *)key, bytes);
  }
  if (agreed) {
    g_hash_table_iter_init(&iterator, (GHashTable *)agreed);
    while (g_hash_table_iter_next(&iterator, &key, &bytes))
      if (!g_hash_table_contains((GHashTable *)now, key))
        add_section(sections, *(guint64 *)key, NULL);
  }
  return sections;
}

/* ---- reading ---- */

typedef struct {
  guint64 soft, hard;
} Limit;

/* Those that a program would notice in the mirror: the others are asked of the device, or are not for the
 * clone to obey. */
static const int noticed[] = {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_STACK, RLIMIT_CORE};

/* What only the process itself can be asked. The questions stay in its scratch, one behind the other, so that
 * each kind of asking is a stretch of them, and the answers that are more than a number stand right behind:
 * one read fetches all. */
enum {
  ASK_LIMITS, /* the device's are the truth: the mirror is not asked */
  ASK_ACTIONS = ASK_LIMITS + G_N_ELEMENTS(noticed),
  ASK_UMASK = ASK_ACTIONS + SIGNAL_COUNT,
  ASK_BRK, /* from here on what the mirror may have changed without a word to the Augmenter */
  ASK_CHILDREN,
  ASK_STACK, /* from here on by each thread */
  ASK_TID,
  ASK_ROBUST,
  ASK_NAME,
  ASK_COUNT,
};

typedef struct {
  MirrorCall calls[ASK_COUNT - ASK_UMASK];
  KernelStack stack;
  guint64 tid_address, robust_head, robust_length;
  char name[NAME_BYTES];
  KernelAction actions[SIGNAL_COUNT];
  Limit limits[G_N_ELEMENTS(noticed)];
} Answers;

G_STATIC_ASSERT(ASK_UMASK * sizeof(MirrorCall) + sizeof(Answers) <= MIRROR_SCRATCH_KEPT);

static guint64
answers_address(const MirrorProcess *process)
{
  return mirror_kept_address(process) + ASK_UMASK * sizeof(MirrorCall);
}

static gboolean
read_umask(MirrorProcess *process, guint32 *mask, GError **error)
{
  g_autofree char *status = io_read_file_at(process->directory, "status", 1 << 16);
  const char *line = status ? strstr(status, "\nUmask:") : NULL;
  if (!line)
    return doppel_error_errno(error, "reading the state of process %d", process->pid);
  *mask = strtoul(line + 7, NULL, 8);
  return TRUE;
}

static gboolean
put_questions(MirrorProcess *process, GError **error)
{
  MirrorCall calls[ASK_COUNT] = {0};
  guint64 at = answers_address(process);
  if (process->kept)
    return TRUE;
  if (!read_umask(process, &process->umask_asked, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(noticed); i++)
    calls[ASK_LIMITS + i] =
        (MirrorCall){SYS_prlimit64, {0, noticed[i], 0, at + offsetof(Answers, limits) + i * sizeof(Limit)}};
  for (guint64 signal = 1; signal <= SIGNAL_COUNT; signal++)
    calls[ASK_ACTIONS + signal - 1] =
        (MirrorCall){SYS_rt_sigaction,
                     {signal, 0, at + offsetof(Answers, actions) + (signal - 1) * sizeof(KernelAction), 8}};
  /* There is no call that only asks: what it is thought to be is set, and put right where it was something
   * else. */
  calls[ASK_UMASK] = (MirrorCall){SYS_umask, {process->umask_asked}};
  calls[ASK_BRK] = (MirrorCall){SYS_brk, {0}};
  calls[ASK_CHILDREN] = (MirrorCall){
      SYS_waitid, {P_ALL, 0, 0, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WALL, 0}};
  calls[ASK_STACK] = (MirrorCall){SYS_sigaltstack, {0, at + offsetof(Answers, stack)}};
  calls[ASK_TID] = (MirrorCall){SYS_prctl, {PR_GET_TID_ADDRESS, at + offsetof(Answers, tid_address)}};
  calls[ASK_ROBUST] = (MirrorCall){
      SYS_get_robust_list, {0, at + offsetof(Answers, robust_head), at + offsetof(Answers, robust_length)}};
  calls[ASK_NAME] = (MirrorCall){SYS_prctl, {PR_GET_NAME, at + offsetof(Answers, name)}};
  process->kept = mirror_memory_write(process, mirror_kept_address(process), calls, sizeof calls, error);
  return process->kept;
}

/* The mask was another one: it is that again, and is what will be asked with next time. */
static gboolean
put_umask_right(MirrorThread *leader, guint32 mask, GError **error)
{
  MirrorProcess *process = leader->process;
  const guint64 argument[6] = {mask};
  gint64 result;
  guint64 at = mirror_kept_address(process) + ASK_UMASK * sizeof(MirrorCall) + offsetof(MirrorCall, argument);
  process->umask_asked = mask;
  return mirror_inject_one(leader, SYS_umask, argument, &result, error) &&
         mirror_memory_write(process, at, argument, sizeof argument[0], error);
}

/* Where the leader's questions begin. */
static guint
first_question(const MirrorProcess *process, const MirrorState *still)
{
  return process->primary ? ASK_LIMITS : still ? ASK_BRK : ASK_ACTIONS;
}

gboolean
mirror_state_ask(MirrorProcess *process, const MirrorState *still, GError **error)
{
  guint first = first_question(process, still);
  return put_questions(process, error) &&
         mirror_inject_kept_begin(mirror_thread_leader(process), first, ASK_COUNT - first, error);
}

gboolean
mirror_state_answered(MirrorProcess *process, GError **error)
{
  MirrorThread *leader = mirror_thread_leader(process);
  return !leader->answering || mirror_inject_kept_finish(leader, error);
}

static gboolean
ask(MirrorThread *thread, guint first, Answers *answers, GError **error)
{
  MirrorProcess *process = thread->process;
  gsize wanted = first == ASK_LIMITS    ? sizeof *answers
                 : first == ASK_ACTIONS ? offsetof(Answers, limits)
                                        : offsetof(Answers, actions);
  if (!(thread->answering
            ? mirror_inject_kept_finish(thread, error)
            : put_questions(process, error) && mirror_inject_kept(thread, first, ASK_COUNT - first, error)) ||
      !mirror_memory_read(process, answers_address(process), answers, wanted, error))
    return FALSE;
  if (answers->calls[ASK_TID - ASK_UMASK].result < 0)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "this kernel does not tell a thread's tid address (CONFIG_CHECKPOINT_RESTORE)");
  guint32 mask = (guint32)answers->calls[0].result;
  return first > ASK_UMASK || mask == process->umask_asked || put_umask_right(thread, mask, error);
}

/* `still`: it can only be as it was, but for the end of the heap. */
static GBytes *
read_misc(MirrorProcess *process, guint64 brk, const MirrorState *still, GError **error)
{
  char directory[PATH_BYTES_MAX];
  GBytes *known = still ? mirror_state_get(still, MIRROR_SECTION_MISC, 0) : NULL;
  GByteArray *bytes = g_byte_array_new();
  if (known) {
    g_byte_array_append(bytes, g_bytes_get_data(known, NULL), g_bytes_get_size(known));
    memcpy(bytes->data + offsetof(MiscHead, brk), &brk, sizeof brk);
    return g_byte_array_free_to_bytes(bytes);
  }
  ssize_t length = readlinkat(process->directory, "cwd", directory, sizeof directory);
  if (length < 0) {
    g_byte_array_unref(bytes);
    doppel_error_errno(error, "reading the state of process %d", process->pid);
    return NULL;
  }
  MiscHead head = {.brk = brk, .umask = process->umask_asked, .directory_length = length};
  g_byte_array_append(bytes, (guint8 *)&head, sizeof head);
  g_byte_array_append(bytes, (guint8 *)directory, length);
  return g_byte_array_free_to_bytes(bytes);
}

static gboolean
read_registers(MirrorState *state, MirrorThread *thread, GError **error)
{
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers)
    return FALSE;
  g_autoptr(GByteArray) extended = g_byte_array_new();
  if (!arch_extended_read(thread->tid, extended, error))
    return FALSE;
  /* Elsewhere nobody knows how to restart the call it may have been frozen in. Here, if it stays, the kernel
   * does. */
  ArchRegisters moved = *registers;
  arch_rewind_call(&moved);
  mirror_state_set(state, MIRROR_SECTION_REGISTERS, thread->own_tid, g_bytes_new(moved.word, moved.length));
  mirror_state_set(state, MIRROR_SECTION_EXTENDED, thread->own_tid,
                   g_byte_array_free_to_bytes(g_steal_pointer(&extended)));
  return TRUE;
}

static gboolean
read_thread(MirrorState *state, MirrorThread *thread, guint first, Answers *answers, GError **error)
{
  ThreadRest rest = {0};
  if (!ask(thread, first, answers, error) || !read_registers(state, thread, error))
    return FALSE;
  if (ptrace(PTRACE_GETSIGMASK, thread->tid, sizeof rest.mask, &rest.mask) < 0)
    return doppel_error_errno(error, "reading the signal mask of thread %d", thread->tid);
  rest.stack = answers->stack;
  rest.stack.zero = 0;
  /* Whether it stands on the stack now follows from its stack pointer. */
  rest.stack.flags &= ~(gint32)SS_ONSTACK;
  rest.tid_address = answers->tid_address;
  rest.robust_head = answers->robust_head;
  rest.robust_length = answers->robust_length;
  memcpy(rest.name, answers->name, strnlen(answers->name, NAME_BYTES - 1));
  mirror_state_set(state, MIRROR_SECTION_THREAD, thread->own_tid, g_bytes_new(&rest, sizeof rest));
  return TRUE;
}

MirrorState *
mirror_state_read(MirrorProcess *process, MirrorLayout *layout, const MirrorFiles *files,
                  MirrorThreadCounts counts, void *user, const MirrorState *still, gboolean *children,
                  GError **error)
{
  g_autoptr(GHashTable) state = mirror_state_new();
  Answers leader = {0}, other;
  guint first = first_question(process, still);
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    if ((!counts || counts(thread, user)) &&
        !read_thread(state, thread, i == 0 ? first : ASK_STACK, i == 0 ? &leader : &other, error))
      return NULL;
  }
  *children = leader.calls[ASK_CHILDREN - ASK_UMASK].result >= 0;
  GBytes *actions = first == ASK_BRK ? mirror_state_get(still, MIRROR_SECTION_SIGNALS, 0) : NULL;
  mirror_state_set(state, MIRROR_SECTION_SIGNALS, 0,
                   actions ? g_bytes_ref(actions) : g_bytes_new(leader.actions, sizeof leader.actions));
  GBytes *misc =
      read_misc(process, leader.calls[ASK_BRK - ASK_UMASK].result, first == ASK_BRK ? still : NULL, error);
  if (!misc)
    return NULL;
  mirror_state_set(state, MIRROR_SECTION_MISC, 0, misc);
  /* The device's are the truth: a change of them is the device's to make. */
  if (process->primary)
    mirror_state_set(state, MIRROR_SECTION_LIMITS, 0, g_bytes_new(leader.limits, sizeof leader.limits));
  mirror_state_set(state, MIRROR_SECTION_LAYOUT, 0, g_bytes_ref(mirror_layout_pack(layout)));
  GByteArray *packed = g_byte_array_new();
  mirror_files_pack(files, packed);
  mirror_state_set(state, MIRROR_SECTION_FILES, 0, g_byte_array_free_to_bytes(packed));
  return g_steal_pointer(&state);
}

MirrorState *
mirror_state_read_silent(MirrorProcess *process, MirrorLayout *layout, const MirrorState *agreed,
                         GError **error)
{
  g_autoptr(GHashTable) state = mirror_state_new();
  GHashTableIter iterator;
  gpointer key, bytes;
  g_hash_table_iter_init(&iterator, (GHashTable *)agreed);
  while (g_hash_table_iter_next(&iterator, &key, &bytes))
    mirror_state_set(state, *(guint64 *)key >> 32, (guint32) * (guint64 *)key, g_bytes_ref(bytes));
  mirror_state_set(state, MIRROR_SECTION_LAYOUT, 0, g_bytes_ref(mirror_layout_pack(layout)));
  for (guint i = 0; i < process->threads->len; i++)
    if (!read_registers(state, process->threads->pdata[i], error))
      return NULL;
  return g_steal_pointer(&state);
}

gboolean
mirror_state_quiet_rseq(MirrorProcess *process, GError **error)
{
  for (guint i = 0; i < process->threads->len; i++) {
    MirrorThread *thread = process->threads->pdata[i];
    struct __ptrace_rseq_configuration area = {0};
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, thread->tid, sizeof area, &area) < 0 || !area.rseq_abi_pointer)
      continue;
    const guint64 arguments[6] = {area.rseq_abi_pointer, area.rseq_abi_size, RSEQ_FLAG_UNREGISTER,
                                  area.signature};
    gint64 result;
    if (!mirror_inject_one(thread, SYS_rseq, arguments, &result, error))
      return FALSE;
    if (result < 0)
      return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                              "the program's restartable sequences cannot be switched off");
    gint32 failed = RSEQ_CPU_ID_REGISTRATION_FAILED;
    if (!mirror_memory_write(process, area.rseq_abi_pointer + offsetof(struct rseq, cpu_id), &failed,
                             sizeof failed, error))
      return FALSE;
  }
  return TRUE;
}

gboolean
mirror_state_apply_limits(MirrorProcess *process, GBytes *bytes, GError **error)
{
  const Limit *limits = g_bytes_get_data(bytes, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS(noticed); i++) {
    const Limit *wanted = &limits[i];
    struct rlimit limit, now;
    if (prlimit(process->pid, noticed[i], NULL, &now) < 0)
      continue;
    limit.rlim_max = MIN(wanted->hard, now.rlim_max);
    limit.rlim_cur = MIN(wanted->soft, limit.rlim_max);
    prlimit(process->pid, noticed[i], &limit, NULL);
  }
  return TRUE;
}

gboolean
mirror_state_has_limit(MirrorProcess *process, GBytes *bytes, int resource)
{
  gsize length;
  const Limit *limits = g_bytes_get_data(bytes, &length);
  struct rlimit now;
  for (gsize i = 0; i < length / sizeof *limits && i < G_N_ELEMENTS(noticed); i++)
    if (noticed[i] == resource)
      return prlimit(process->pid, resource, NULL, &now) == 0 && now.rlim_cur == limits[i].soft &&
             now.rlim_max == limits[i].hard;
  return FALSE;
}

/* ---- applying ---- */

static gboolean
check(gint64 result, const char *what, GError **error)
{
  if (result >= 0)
    return TRUE;
  errno = -result;
  return doppel_error_errno(error, "%s", what);
}

static gboolean
misc_right(const guint8 *data, gsize length)
{
  MiscHead head;
  if (length < sizeof head)
    return FALSE;
  memcpy(&head, data, sizeof head);
  return head.directory_length < PATH_BYTES_MAX && length == sizeof head + head.directory_length &&
         !memchr(data + sizeof head, 0, head.directory_length);
}

gboolean
mirror_state_check(guint32 kind, GBytes *bytes, GError **error)
{
  const gsize lengths[MIRROR_SECTION_COUNT] = {
      [MIRROR_SECTION_SIGNALS] = SIGNAL_COUNT * sizeof(KernelAction),
      [MIRROR_SECTION_LIMITS] = G_N_ELEMENTS(noticed) * sizeof(Limit),
      [MIRROR_SECTION_REGISTERS] = arch_registers_length,
      [MIRROR_SECTION_THREAD] = sizeof(ThreadRest),
  };
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  if (kind == MIRROR_SECTION_EXTENDED)
    return arch_extended_check(data, length, error);
  gboolean right =
      kind == MIRROR_SECTION_MISC ? misc_right(data, length) : !lengths[kind] || length == lengths[kind];
  return right ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a section of state (%u) that no process has", kind);
}

char *
mirror_state_directory(GBytes *bytes)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  return length > sizeof(MiscHead)
             ? g_strndup((const char *)data + sizeof(MiscHead), length - sizeof(MiscHead))
             : NULL;
}

gboolean
mirror_state_apply_misc(MirrorProcess *process, GBytes *bytes, GError **error)
{
  const guint8 *data = g_bytes_get_data(bytes, NULL);
  MiscHead head;
  memcpy(&head, data, sizeof head);
  g_autofree char *directory = g_strndup((const char *)data + sizeof head, head.directory_length);
  guint64 room = mirror_scratch_bytes(process);
  MirrorCall calls[] = {{SYS_brk, {head.brk}}, {SYS_umask, {head.umask & 0777}}, {SYS_chdir, {room}}};
  if (!mirror_memory_write(process, room, directory, head.directory_length + 1, error) ||
      !mirror_inject(mirror_thread_leader(process), calls, G_N_ELEMENTS(calls), error))
    return FALSE;
  if ((guint64)calls[0].result != head.brk)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                            "the heap cannot be made to end at 0x%" G_GINT64_MODIFIER
                            "x (it ends at 0x%" G_GINT64_MODIFIER
                            "x): the kernels lay programs out differently",
                            head.brk, (guint64)calls[0].result);
  g_autofree char *what = g_strdup_printf("changing to the directory %s", directory);
  return check(calls[2].result, what, error);
}

gboolean
mirror_state_apply_signals(MirrorProcess *process, GBytes *former, GBytes *bytes, GError **error)
{
  gsize length, former_length = 0;
  const KernelAction *actions = g_bytes_get_data(bytes, &length);
  const KernelAction *old = former ? g_bytes_get_data(former, &former_length) : NULL;
  if (former_length != length)
    old = NULL;
  guint64 room = mirror_scratch_bytes(process);
  MirrorCall calls[SIGNAL_COUNT];
  guint count = 0;
  for (int signal = 1; signal <= SIGNAL_COUNT; signal++)
    if (signal != SIGKILL && signal != SIGSTOP &&
        (!old || memcmp(&old[signal - 1], &actions[signal - 1], sizeof *actions)))
      calls[count++] = (MirrorCall){SYS_rt_sigaction, {signal, room + (signal - 1) * sizeof *actions, 0, 8}};
  if (!count)
    return TRUE;
  if (!mirror_memory_write(process, room, actions, length, error) ||
      !mirror_inject(mirror_thread_leader(process), calls, count, error))
    return FALSE;
  for (guint i = 0; i < count; i++)
    if (!check(calls[i].result, "setting a signal's action", error))
      return FALSE;
  return TRUE;
}

static gboolean
on_stack(const KernelStack *stack, guint64 sp)
{
  return sp > stack->sp && sp - stack->sp <= stack->size;
}

gsize
mirror_state_exit_writes(const MirrorState *agreed, pid_t own_tid, guint64 places[2])
{
  GBytes *bytes = agreed ? mirror_state_get(agreed, MIRROR_SECTION_THREAD, own_tid) : NULL;
  gsize length;
  const ThreadRest *rest = bytes ? g_bytes_get_data(bytes, &length) : NULL;
  if (!rest || length != sizeof *rest)
    return 0;
  places[0] = rest->tid_address;
  places[1] = rest->robust_head;
  return 2;
}

gboolean
mirror_state_apply_thread(MirrorThread *thread, GBytes *bytes, GError **error)
{
  MirrorProcess *process = thread->process;
  ThreadRest rest;
  memcpy(&rest, g_bytes_get_data(bytes, NULL), sizeof rest);
  guint64 room = mirror_scratch_bytes(process);
  if (!mirror_memory_write(process, room, &rest, sizeof rest, error))
    return FALSE;
  MirrorCall calls[] = {
      {SYS_set_tid_address, {rest.tid_address}},
      {rest.robust_length ? SYS_set_robust_list : SYS_gettid, {rest.robust_head, rest.robust_length}},
      {SYS_prctl, {PR_SET_NAME, room + offsetof(ThreadRest, name)}},
      {SYS_sigaltstack, {room + offsetof(ThreadRest, stack), 0}},
  };
  /* A stack cannot be named while it is stood on; the call is made from elsewhere. */
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers)
    return FALSE;
  guint64 sp = arch_sp(registers);
  gboolean away = on_stack(&rest.stack, sp);
  if (away)
    arch_set_sp(registers, process->scratch + MIRROR_SCRATCH_CODE + 4096);
  thread->registers_changed = TRUE;
  gboolean done = mirror_inject(thread, calls, G_N_ELEMENTS(calls), error);
  if (away)
    arch_set_sp(&thread->registers, sp);
  thread->registers_changed = TRUE;
  if (!done || !check(calls[3].result, "setting the alternate signal stack", error))
    return FALSE;
  if (ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof rest.mask, &rest.mask) < 0)
    return doppel_error_errno(error, "setting the signal mask of thread %d", thread->tid);
  return TRUE;
}

gboolean
mirror_state_apply_registers(MirrorThread *thread, GBytes *bytes, GError **error)
{
  ArchRegisters *registers = mirror_thread_registers(thread, error);
  if (!registers)
    return FALSE;
  memcpy(registers->word, g_bytes_get_data(bytes, NULL), arch_registers_length);
  thread->registers_changed = TRUE;
  return TRUE;
}

gboolean
mirror_state_apply_extended(MirrorThread *thread, GBytes *bytes, GError **error)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  return arch_extended_write(thread->tid, data, length, error);
}
