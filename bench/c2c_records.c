/* Makes records of users who exist nowhere, really signed: what bench/c2c fills a directory with. Every key
 * follows from the seed and the user's number, so that a later call can make newer records of the same users.
 *
 * The file has records one after the other, each behind its length (4 bytes, little-endian). Several
 * processes write into it: the order of the users in it is nobody's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "identity/record.h"
#include "identity/statement.h"
#include "wire/record.pb-c.h"

enum { BUFFER = 1 << 20, PROVIDERS = 16, BINDING_LIFE = 365 * 86400, WHEREABOUTS_LIFE = 86400 };

typedef enum { ROLE_ORIGIN, ROLE_RECOVERY, ROLE_CLONE, ROLE_DEVICE, ROLE_PROVIDER } Role;

static int count = 1000, first = 0, serial = 1, sequence = 1, processes = 0;
static char *out = NULL, *directory_text = NULL, *seed = NULL;
static IdentityPublic directory;

static const GOptionEntry options[] = {
    {"records", 'n', 0, G_OPTION_ARG_INT, &count, "How many (default 1000)", "N"},
    {"first", 0, 0, G_OPTION_ARG_INT, &first, "The first user's number (default 0)", "N"},
    {"serial", 0, 0, G_OPTION_ARG_INT, &serial, "Of the bindings (default 1)", "N"},
    {"sequence", 0, 0, G_OPTION_ARG_INT, &sequence, "Of the whereabouts (default 1)", "N"},
    {"processes", 'j', 0, G_OPTION_ARG_INT, &processes, "How many make them (default: processors)", "N"},
    {"seed", 0, 0, G_OPTION_ARG_STRING, &seed, "What the keys follow from (default \"bench\")", "WORDS"},
    {"directory", 0, 0, G_OPTION_ARG_STRING, &directory_text, "Their home directory's key", "KEY"},
    {"output", 'o', 0, G_OPTION_ARG_FILENAME, &out, "The file", "FILE"},
    {NULL},
};

static void
die(const char *what, const char *why)
{
  fprintf(stderr, "c2c_records: %s: %s\n", what, why);
  exit(1);
}

static IdentityKey *
derive(Role role, guint number)
{
  g_autofree char *text = g_strdup_printf("%s %d %u", seed, role, number);
  guint8 secret[STATEMENT_HASH_LENGTH];
  statement_hash(text, strlen(text), secret);
  return identity_key_from_seed(secret);
}

/* Of documentation's addresses (RFC 3849), one for each user. */
static GBytes *
whereabouts(const IdentityKey *clone, guint number, gint64 now)
{
  g_autofree char *address =
      g_strdup_printf("[2001:db8::%x:%x]:3677", number >> 16 & 0xffff, number & 0xffff);
  const char *const addresses[] = {address, NULL};
  return record_sign_whereabouts(clone, addresses, sequence, now, now + WHEREABOUTS_LIFE);
}

static IdentityPublic
public_of(Role role, guint number)
{
  g_autoptr(IdentityKey) key = derive(role, number);
  return *identity_key_public(key);
}

static Doppel__Wire__Signed *
open_part(GBytes *part)
{
  gsize length;
  const guint8 *data = g_bytes_get_data(part, &length);
  return doppel__wire__signed__unpack(NULL, length, data);
}

/* As record_assemble(), but nothing is verified: that takes longer than to make it. */
static GBytes *
put_together(GBytes *root, GBytes *binding, GBytes *hosting, GBytes *where)
{
  Doppel__Wire__Record wire = DOPPEL__WIRE__RECORD__INIT;
  wire.root = open_part(root);
  wire.binding = open_part(binding);
  wire.hosting = open_part(hosting);
  wire.whereabouts = open_part(where);
  gsize length = doppel__wire__record__get_packed_size(&wire);
  guint8 *bytes = g_malloc(length);
  doppel__wire__record__pack(&wire, bytes);
  doppel__wire__signed__free_unpacked(wire.root, NULL);
  doppel__wire__signed__free_unpacked(wire.binding, NULL);
  doppel__wire__signed__free_unpacked(wire.hosting, NULL);
  doppel__wire__signed__free_unpacked(wire.whereabouts, NULL);
  return g_bytes_new_take(bytes, length);
}

static GBytes *
make(guint number, gint64 now)
{
  static IdentityKey *providers[PROVIDERS];
  IdentityKey **provider = &providers[number % PROVIDERS];
  if (!*provider)
    *provider = derive(ROLE_PROVIDER, number % PROVIDERS);
  g_autoptr(IdentityKey) origin = derive(ROLE_ORIGIN, number), clone = derive(ROLE_CLONE, number);
  IdentityPublic recovery = public_of(ROLE_RECOVERY, number);
  /* Names come in no order, as those of people do: an odd factor gives each number another one. */
  g_autofree char *name = g_strdup_printf("user%08x@example.org", number * 2654435761u);
  RecordBinding binding = {
      .origin = *identity_key_public(origin),
      .name = name,
      .clone_key = *identity_key_public(clone),
      .device = public_of(ROLE_DEVICE, number),
      .provider = *identity_key_public(*provider),
      .directory = directory,
      .serial = serial,
      .issued = now,
      .expires = now + BINDING_LIFE,
  };
  memcpy(binding.clone, identity_key_public(clone)->bytes, sizeof binding.clone);
  g_autoptr(GBytes) root = record_sign_root(origin, &recovery);
  g_autoptr(GBytes) bound = record_sign_binding(origin, &binding);
  g_autoptr(GBytes) hosting = record_sign_hosting(*provider, binding.clone, &binding.clone_key, now);
  g_autoptr(GBytes) where = whereabouts(clone, number, now);
  return put_together(root, bound, hosting, where);
}

/* One of them, for all. */
static void
check(GBytes *bytes)
{
  g_autoptr(GError) error = NULL;
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(Record) record = record_decode(data, length, NULL, &error);
  if (!record)
    die("a record", error->message);
}

/* `end` is shared by all processes: who has a full buffer takes the next piece of the file. */
static void
write_out(int fd, GByteArray *buffer, gint64 *end)
{
  gint64 place = __atomic_fetch_add(end, buffer->len, __ATOMIC_SEQ_CST);
  for (gsize done = 0; done < buffer->len;) {
    ssize_t wrote = pwrite(fd, buffer->data + done, buffer->len - done, place + (gint64)done);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote <= 0)
      die(out, g_strerror(errno));
    done += wrote;
  }
  g_byte_array_set_size(buffer, 0);
}

static void
make_share(int fd, guint share, gint64 *end)
{
  g_autoptr(GByteArray) buffer = g_byte_array_new();
  gint64 now = clock_unix_time();
  for (guint i = share; i < (guint)count; i += processes) {
    g_autoptr(GBytes) record = make(first + i, now);
    gsize length = g_bytes_get_size(record);
    if (i == share)
      check(record);
    guint32 prefix = GUINT32_TO_LE(length);
    g_byte_array_append(buffer, (const guint8 *)&prefix, sizeof prefix);
    g_byte_array_append(buffer, g_bytes_get_data(record, NULL), length);
    if (buffer->len < BUFFER)
      continue;
    write_out(fd, buffer, end);
    if (share == 0)
      fprintf(stderr, "%u of %d records made\n", i, count);
  }
  write_out(fd, buffer, end);
}

static gboolean
all_ended_well(void)
{
  gboolean good = TRUE;
  for (int status; wait(&status) > 0;)
    good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return good;
}

static void
check_options(void)
{
  g_autoptr(GError) error = NULL;
  if (!out || !directory_text)
    die("usage", "--output and --directory are needed");
  if (!identity_public_from_text(directory_text, &directory, &error))
    die("--directory", error->message);
  if (count < 1 || first < 0 || serial < 1 || sequence < 1 || processes < 0)
    die("usage", "a number is too small");
  if (!seed)
    seed = g_strdup("bench");
  if (processes == 0)
    processes = g_get_num_processors();
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("- make records for a directory");
  g_option_context_add_main_entries(context, options, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    die("usage", error->message);
  check_options();
  g_auto(Fd) fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0)
    die(out, g_strerror(errno));
  gint64 *end = mmap(NULL, sizeof *end, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (end == MAP_FAILED)
    die("memory", g_strerror(errno));
  for (int share = 0; share < processes; share++) {
    pid_t child = fork();
    if (child < 0)
      die("fork", g_strerror(errno));
    if (child == 0) {
      make_share(fd, share, end);
      _exit(0);
    }
  }
  if (!all_ended_well())
    die(out, "a process that makes records has failed");
  printf("{\"records\": %d, \"bytes\": %" G_GINT64_FORMAT "}\n", count, *end - 4 * (gint64)count);
  return 0;
}
