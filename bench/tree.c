/* What a synchronisation costs the device, without a network and a clone: scan, steps, packing, compression,
 * and an index that believes that all of it arrived.
 *
 *     tree ROOT INDEX [DIRECTORY...]     only what is in these directories, if any are named
 *
 * Prints JSON. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/io.h"
#include "replica/generation_steps.h"
#include "wire/compress.h"

#define SAVE_BYTES  (1u << 20) /* between two savings of the index */
#define FLUSH_BYTES (64u << 10)

typedef struct {
  TreeIndex *index;
  WirePacker *packer;
  guint8 *packed;
  gsize packed_room;
  GByteArray *waiting;
  guint64 steps, raw, bytes, unsaved;
} Bench;

static void
fail(const GError *error)
{
  fprintf(stderr, "tree: %s\n", error->message);
  exit(1);
}

static double
cpu_seconds(void)
{
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* As a link does it: what is waiting is one message. */
static void
flush(Bench *bench)
{
  struct iovec piece = {.iov_base = bench->waiting->data, .iov_len = bench->waiting->len};
  if (wire_packed_bound(piece.iov_len) > bench->packed_room) {
    bench->packed_room = wire_packed_bound(piece.iov_len);
    bench->packed = g_realloc(bench->packed, bench->packed_room);
  }
  bench->bytes += wire_packer_pack(bench->packer, &piece, 1, bench->packed);
  bench->raw += piece.iov_len;
  g_byte_array_set_size(bench->waiting, 0);
}

static void
send_step(Bench *bench, const GenerationStep *step)
{
  g_autoptr(GBytes) message = generation_step_pack(step);
  gsize length;
  const guint8 *data = g_bytes_get_data(message, &length);
  guint32 prefix = GUINT32_TO_LE((guint32)length);
  g_byte_array_append(bench->waiting, (const guint8 *)&prefix, 3);
  g_byte_array_append(bench->waiting, data, length);
  if (bench->waiting->len >= FLUSH_BYTES)
    flush(bench);
  bench->unsaved += length;
  bench->steps++;
}

static void
save(Bench *bench, GenerationSteps *steps, guint64 number)
{
  g_autoptr(GError) error = NULL;
  generation_steps_durable(steps, number);
  bench->unsaved = 0;
  if (!tree_index_save(bench->index, &error))
    fail(error);
}

static void
send_all(Bench *bench, GenerationSteps *steps)
{
  g_autoptr(GError) error = NULL;
  guint64 number = 0;
  for (GenerationStep *step; (step = generation_steps_next(steps, &error));) {
    send_step(bench, step);
    number = step->number;
    generation_step_free(step);
    if (bench->unsaved >= SAVE_BYTES)
      save(bench, steps, number);
  }
  if (error)
    fail(error);
  if (number == 0)
    return;
  save(bench, steps, number);
  g_autoptr(GenerationStep) commit = generation_steps_commit(steps, 1);
  send_step(bench, commit);
  flush(bench);
  tree_index_committed(bench->index);
  save(bench, steps, 0);
}

int
main(int argc, char **argv)
{
  if (argc < 3) {
    fprintf(stderr, "usage: tree ROOT INDEX [DIRECTORY...]\n");
    return 2;
  }
  g_autoptr(GError) error = NULL;
  g_auto(Fd) root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  Bench bench = {
      .packer = wire_packer_new(), .waiting = g_byte_array_new(), .index = tree_index_open(argv[2], &error)};
  if (!bench.index)
    fail(error);
  g_autoptr(TreeRules) rules = tree_rules_new();
  double begin = cpu_seconds();
  g_autoptr(TreePlan) plan =
      tree_scan(bench.index, rules, root, argc > 3 ? (const char *const *)argv + 3 : NULL, &error);
  if (!plan)
    fail(error);
  double scanned = cpu_seconds();
  g_autoptr(GenerationSteps) steps = generation_steps_new(bench.index, root, plan, 1);
  send_all(&bench, steps);
  GenerationProgress progress = generation_steps_progress(steps);
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("{\"seen\": %" G_GUINT64_FORMAT ", \"changes\": %" G_GUINT64_FORMAT ", \"steps\": %" G_GUINT64_FORMAT
         ", \"raw\": %" G_GUINT64_FORMAT ", \"bytes\": %" G_GUINT64_FORMAT
         ", \"literals\": %" G_GUINT64_FORMAT ", \"left\": %" G_GUINT64_FORMAT
         ", \"scan_cpu_s\": %.4f, \"cpu_s\": %.4f, \"whole_cpu_s\": %.4f, \"peak_kib\": %ld}\n",
         plan->seen, progress.changes, bench.steps, bench.raw, bench.bytes, progress.literals, progress.left,
         scanned - begin, cpu_seconds() - begin, cpu_seconds(), used.ru_maxrss);
  return 0;
}
