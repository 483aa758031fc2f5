#include "mirror/syscall_filter.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

#define NUMBERS_END 1024 /* above all numbers in the table; what lies beyond notifies */

/* Numbers from `first` to the next range's first share a verdict: `row` with a condition, else `allow`. */
typedef struct {
  guint32 first;
  gboolean allow;
  const SyscallRow *row;
} Range;

typedef struct {
  GArray *code;    /* struct sock_filter */
  GArray *pending; /* guint: jumps to the tail, whose place is known at the end */
} Builder;

static guint
emit(Builder *builder, guint16 code, guint8 when_true, guint8 when_false, guint32 k)
{
  struct sock_filter instruction = {code, when_true, when_false, k};
  g_array_append_val(builder->code, instruction);
  return builder->code->len - 1;
}

static void
emit_load(Builder *builder, gsize offset)
{
  emit(builder, BPF_LD | BPF_W | BPF_ABS, 0, 0, offset);
}

static void
emit_return(Builder *builder, guint32 verdict)
{
  emit(builder, BPF_RET | BPF_K, 0, 0, verdict);
}

static void
emit_jump_to_tail(Builder *builder)
{
  guint at = emit(builder, BPF_JMP | BPF_JA, 0, 0, 0);
  g_array_append_val(builder->pending, at);
}

/* All words of seccomp_data's 64-bit fields are little-endian on both architectures: the low one comes first.
 */
static void
emit_condition(Builder *builder, const SyscallRow *row)
{
  guint32 mask = row->native_when.mask;
  emit_load(builder, offsetof(struct seccomp_data, args) + row->native_when.arg * sizeof(guint64));
  switch (row->native_when.test) {
  case SYSCALL_WHEN_BITS:
    emit(builder, BPF_JMP | BPF_JSET | BPF_K, 0, 1, mask);
    break;
  case SYSCALL_WHEN_NO_BITS:
    emit(builder, BPF_JMP | BPF_JSET | BPF_K, 1, 0, mask);
    break;
  default: /* SYSCALL_WHEN_ONE_OF: 1 << value, if that can be */
    emit(builder, BPF_JMP | BPF_JGE | BPF_K, 5, 0, 32);
    emit(builder, BPF_MISC | BPF_TAX, 0, 0, 0);
    emit(builder, BPF_LD | BPF_IMM, 0, 0, 1);
    emit(builder, BPF_ALU | BPF_LSH | BPF_X, 0, 0, 0);
    emit(builder, BPF_JMP | BPF_JSET | BPF_K, 0, 1, mask);
  }
  emit_return(builder, SECCOMP_RET_ALLOW);
  emit_jump_to_tail(builder);
}

static void
emit_leaf(Builder *builder, const Range *range)
{
  if (range->row)
    emit_condition(builder, range->row);
  else if (range->allow)
    emit_return(builder, SECCOMP_RET_ALLOW);
  else
    emit_jump_to_tail(builder);
}

/* The decision among `count` ranges, with the number in the accumulator. */
static void
emit_tree(Builder *builder, const Range *ranges, guint count)
{
  if (count == 1) {
    emit_leaf(builder, ranges);
    return;
  }
  guint half = count / 2;
  /* A conditional jump reaches 255 instructions only; a plain one reaches all. */
  emit(builder, BPF_JMP | BPF_JGE | BPF_K, 0, 1, ranges[half].first);
  guint far = emit(builder, BPF_JMP | BPF_JA, 0, 0, 0);
  guint near = builder->code->len;
  emit_tree(builder, ranges, half);
  g_array_index(builder->code, struct sock_filter, far).k = builder->code->len - near;
  emit_tree(builder, ranges + half, count - half);
}

static GArray *
make_ranges(void)
{
  GArray *ranges = g_array_new(FALSE, FALSE, sizeof(Range));
  for (guint32 nr = 0; nr <= NUMBERS_END; nr++) {
    const SyscallRow *row = nr < NUMBERS_END ? syscall_row(nr) : NULL;
    Range range = {.first = nr, .allow = row && row->class == SYSCALL_NATIVE};
    if (row && row->class != SYSCALL_NATIVE && row->native_when.test != SYSCALL_WHEN_NEVER)
      range.row = row;
    const Range *last = ranges->len > 0 ? &g_array_index(ranges, Range, ranges->len - 1) : NULL;
    if (!last || range.row || last->row || last->allow != range.allow)
      g_array_append_val(ranges, range);
  }
  return ranges;
}

/* Where no native call ends up. seccomp sees the address behind the instruction, hence the borders. */
static void
emit_tail(Builder *builder, guint64 start, guint64 end)
{
  for (guint i = 0; i < builder->pending->len; i++) {
    guint at = g_array_index(builder->pending, guint, i);
    g_array_index(builder->code, struct sock_filter, at).k = builder->code->len - at - 1;
  }
  if (start < end) {
    gsize address = offsetof(struct seccomp_data, instruction_pointer);
    emit_load(builder, address + 4);
    emit(builder, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, start >> 32);
    emit_load(builder, address);
    emit(builder, BPF_JMP | BPF_JGT | BPF_K, 0, 2, (guint32)start);
    emit(builder, BPF_JMP | BPF_JGT | BPF_K, 1, 0, (guint32)end);
    emit_return(builder, SECCOMP_RET_ALLOW);
  }
  emit_return(builder, SECCOMP_RET_USER_NOTIF);
}

GArray *
syscall_filter_build(guint64 scratch_start, guint64 scratch_end, GError **error)
{
  if (scratch_start > scratch_end || scratch_start >> 32 != scratch_end >> 32) {
    doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                     "the engine's scratch page at 0x%" G_GINT64_MODIFIER
                     "x crosses a 4 GiB line; map it elsewhere",
                     scratch_start);
    return NULL;
  }
  g_autoptr(GArray) ranges = make_ranges();
  Builder builder = {g_array_new(FALSE, FALSE, sizeof(struct sock_filter)),
                     g_array_new(FALSE, FALSE, sizeof(guint))};
  emit_load(&builder, offsetof(struct seccomp_data, arch));
  emit(&builder, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYSCALL_AUDIT_ARCH);
  emit_return(&builder, SECCOMP_RET_USER_NOTIF);
  emit_load(&builder, offsetof(struct seccomp_data, nr));
  emit_tree(&builder, &g_array_index(ranges, Range, 0), ranges->len);
  emit_tail(&builder, scratch_start, scratch_end);
  g_array_unref(builder.pending);
  return builder.code;
}

int
syscall_filter_install(const GArray *program, GError **error)
{
  struct sock_fprog raw = {.len = program->len, .filter = (struct sock_filter *)(void *)program->data};
  int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &raw);
  if (listener < 0)
    doppel_error_errno(error, "cannot install the mirror's filter of system calls (%u instructions)",
                       program->len);
  return listener;
}

const SyscallRow *
syscall_filter_row(const struct seccomp_data *call)
{
  return call->arch == SYSCALL_AUDIT_ARCH ? syscall_row(call->nr) : NULL;
}
