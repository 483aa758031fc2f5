/* What a changed content costs a device that has the old one's signature: bytes that travel and CPU.
 *
 *     signature OLD NEW     two files, or two directories whose files have the same names
 *
 * The signatures of OLD are taken first and not counted: they were a by-product of sending it. Prints JSON.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/io.h"
#include "replica/signature.h"
#include "wire/compress.h"

typedef struct {
  SignatureKey key;
  SignatureSearch *search;
  WirePacker *packer;
  guint8 *packed;
  gsize packed_room;
  guint64 content, literals, segments, bytes;
} Bench;

static double
cpu_seconds(void)
{
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int
open_sized(const char *path, guint64 *size)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0) {
    perror(path);
    exit(1);
  }
  *size = st.st_size;
  return fd;
}

static Signature *
sign(Bench *bench, const char *path)
{
  guint64 size;
  g_auto(Fd) fd = open_sized(path, &size);
  signature_search_begin(bench->search, fd, size, NULL, 0);
  for (GenerationStep *step; (step = signature_search_next(bench->search, NULL));)
    generation_step_free(step);
  return signature_search_end(bench->search);
}

static void
send_step(Bench *bench, GenerationStep *step)
{
  step->number = 1;
  g_autoptr(GBytes) message = generation_step_pack(step);
  gsize length;
  const void *data = g_bytes_get_data(message, &length);
  struct iovec piece = {.iov_base = (void *)data, .iov_len = length};
  if (wire_packed_bound(length) > bench->packed_room) {
    bench->packed_room = wire_packed_bound(length);
    bench->packed = g_realloc(bench->packed, bench->packed_room);
  }
  bench->bytes += wire_packer_pack(bench->packer, &piece, 1, bench->packed);
  bench->segments += step->segments->len;
  for (guint i = 0; i < step->segments->len; i++) {
    const GenerationSegment *segment = &g_array_index(step->segments, GenerationSegment, i);
    bench->literals += segment->kind == GENERATION_LITERAL ? segment->length : 0;
  }
  generation_step_free(step);
}

static void
send_file(Bench *bench, const char *path, const Signature *old)
{
  guint64 size;
  g_auto(Fd) fd = open_sized(path, &size);
  signature_search_begin(bench->search, fd, size, &old, old ? 1 : 0);
  for (GenerationStep *step; (step = signature_search_next(bench->search, NULL));)
    send_step(bench, step);
  signature_free(signature_search_end(bench->search));
  bench->content += size;
}

typedef struct {
  char *old, *new;
} Pair;

static void
add_pair(GArray *pairs, const char *old, const char *new)
{
  Pair pair = {g_strdup(old), g_strdup(new)};
  g_array_append_val(pairs, pair);
}

static GArray *
pairs_of(const char *old, const char *new)
{
  GArray *pairs = g_array_new(FALSE, FALSE, sizeof(Pair));
  g_autoptr(GDir) dir = g_dir_open(new, 0, NULL);
  if (!dir)
    add_pair(pairs, old, new);
  for (const char *name; dir && (name = g_dir_read_name(dir));) {
    g_autofree char *old_path = g_build_filename(old, name, NULL);
    g_autofree char *new_path = g_build_filename(new, name, NULL);
    add_pair(pairs, old_path, new_path);
  }
  return pairs;
}

int
main(int argc, char **argv)
{
  if (argc != 3) {
    fprintf(stderr, "usage: signature OLD NEW\n");
    return 2;
  }
  Bench bench = {.packer = wire_packer_new()};
  signature_key_init(&bench.key, (const guint8 *)"bench", 5);
  bench.search = signature_search_new(&bench.key);
  g_autoptr(GArray) pairs = pairs_of(argv[1], argv[2]);
  g_autoptr(GPtrArray) signatures = g_ptr_array_new();
  double begin = cpu_seconds();
  for (guint i = 0; i < pairs->len; i++)
    g_ptr_array_add(signatures, sign(&bench, g_array_index(pairs, Pair, i).old));
  double signed_at = cpu_seconds();
  for (guint i = 0; i < pairs->len; i++)
    send_file(&bench, g_array_index(pairs, Pair, i).new, signatures->pdata[i]);
  printf("{\"content\": %" G_GUINT64_FORMAT ", \"literals\": %" G_GUINT64_FORMAT
         ", \"segments\": %" G_GUINT64_FORMAT ", \"bytes\": %" G_GUINT64_FORMAT
         ", \"cpu_s\": %.4f, \"sign_cpu_s\": %.4f}\n",
         bench.content, bench.literals, bench.segments, bench.bytes, cpu_seconds() - signed_at,
         signed_at - begin);
  return 0;
}
