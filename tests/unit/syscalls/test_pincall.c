/* Calls and results as they travel: what is gathered, what comes out of the bytes, and what hostile bytes
 * meet. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/error.h"
#include "fake.h"
#include "mirror/pincall_parts.h"

static PinCall *
gather(Fake *fake, const char *name, const guint64 args[6], guint64 skip, GError **error)
{
  MirrorMemoryOps memory = fake_memory(fake);
  return pincall_gather(syscall_row_named(name), args, &memory, fake_pin_of_fd, fake, skip, error);
}

#define ARGS(...) ((const guint64[6]){__VA_ARGS__})

static void
assert_not_gathered(Fake *fake, const char *name, const guint64 args[6])
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PinCall) call = gather(fake, name, args, 0, &error);
  g_assert_null(call);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_UNSUPPORTED);
}

static PinCall *
must_gather(Fake *fake, const char *name, const guint64 args[6])
{
  GError *error = NULL;
  PinCall *call = gather(fake, name, args, 0, &error);
  g_assert_no_error(error);
  return call;
}

static void
test_round_trips(void)
{
  for (guint i = 0; i < fake_samples(); i++) {
    g_autoptr(Fake) fake = fake_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(PinCall) call = fake_sample(fake, i);
    g_test_message("%s", call->row->name);
    pincall_check(call, &error);
    g_assert_no_error(error);
    g_autoptr(GByteArray) packed = pincall_pack(call);
    g_autoptr(PinCall) back = pincall_unpack(packed->data, packed->len, &error);
    g_assert_no_error(error);
    g_assert_true(pincall_equal(call, back));
    g_assert_cmpuint(call->asked, ==, back->asked);
    pincall_permitted(back, NULL, &error);
    g_assert_no_error(error);
    /* No address of the mirror is in what travels. */
    for (guint arg = 0; arg < 6; arg++)
      g_assert_true(call->args[arg] < FAKE_BASE || call->args[arg] > FAKE_BASE + FAKE_SIZE);
    g_autoptr(PinPlacement) placement =
        pincall_place(back, 0x700000000000, PINCALL_SCRATCH, fake_fd_of_pin, fake, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(placement->image->len, <=, placement->used);
    for (guint r = 0; r < back->regions->len; r++) {
      guint64 address = g_array_index(placement->addresses, guint64, r);
      g_assert_cmpuint(address, >=, 0x700000000000);
      g_assert_cmpuint(address - 0x700000000000 + pincall_region(back, r)->room, <=, placement->used + 64);
    }
  }
}

static void
test_descriptors(void)
{
  g_autoptr(Fake) fake = fake_new();
  g_autoptr(PinCall) call = must_gather(fake, "read", ARGS(0xdeadbeef0000000a, FAKE_BASE, 5));
  g_assert_cmpuint(call->args[0], ==, FAKE_PIN + 10); /* the kernel looks at 32 bits only */
  assert_not_gathered(fake, "read", ARGS(3, FAKE_BASE, 5));
  assert_not_gathered(fake, "sendfile", ARGS(10, 3, 0, 5));
  assert_not_gathered(fake, "vmsplice", ARGS(10, FAKE_BASE, 1, 0));
  assert_not_gathered(fake, "mmap", ARGS(0, 4096, 1, 2, 10, 0));
  assert_not_gathered(fake, "brk", ARGS(0));
  assert_not_gathered(fake, "inotify_add_watch", ARGS(3, FAKE_BASE, 1));
  /* -1 stands for none, where a call takes that. */
  guint64 signals = fake_put(fake, "\1\0\0\0\0\0\0\0", 8);
  g_autoptr(PinCall) signal = must_gather(fake, "signalfd4", ARGS(0xffffffff, signals, 8, 0));
  g_assert_cmpuint(signal->args[0], ==, G_MAXUINT64);
}

static void
test_sets(void)
{
  g_autoptr(Fake) fake = fake_new();
  struct pollfd entries[3] = {{12, POLLIN, 0}, {-7, POLLIN, 0}, {5, POLLOUT, 0}};
  guint64 address = fake_put(fake, entries, sizeof entries);
  g_autoptr(PinCall) call = must_gather(fake, "poll", ARGS(address, 3, 0));
  const struct pollfd *travels = (const struct pollfd *)(const void *)pincall_region(call, 0)->bytes;
  g_assert_cmpint(travels[0].fd, ==, FAKE_PIN + 12);
  g_assert_cmpint(travels[1].fd, <, 0);
  g_assert_cmpint(travels[2].fd, ==, -1); /* ignored */
  entries[1].fd = 3;                      /* exists in the clone only */
  guint64 mixed = fake_put(fake, entries, sizeof entries);
  assert_not_gathered(fake, "poll", ARGS(mixed, 3, 0));

  guint64 words[2] = {(guint64)1 << 12 | (guint64)1 << 63 | 1 << 5, 1 << 3};
  guint64 set = fake_put(fake, words, sizeof words);
  g_autoptr(PinCall) chosen = must_gather(fake, "pselect6", ARGS(67, set, 0, 0, 0, 0));
  const PinSetEntry *members = (const PinSetEntry *)(const void *)pincall_region(chosen, 0)->bytes;
  g_assert_cmpuint(pincall_region(chosen, 0)->in, ==, 2 * sizeof *members); /* 67 is beyond, 5 ignored */
  g_assert_cmpint(members[0].fd, ==, 12);
  g_assert_cmpuint(members[0].pin, ==, FAKE_PIN + 12);
  g_assert_cmpint(members[1].fd, ==, 63);
  g_autoptr(PinResult) result = pinresult_new(1);
  pinresult_add(result, 0, &members[1], sizeof *members);
  MirrorMemoryOps memory = fake_memory(fake);
  gint64 value;
  g_assert_true(pincall_scatter(chosen, result, &memory, fake_fd_of_pin, fake, &value, NULL));
  guint64 *seen = fake_at(fake, set);
  g_assert_cmphex(seen[0], ==, (guint64)1 << 63);
  g_assert_cmphex(seen[1], ==, 0);
}

static void
test_lengths(void)
{
  g_autoptr(Fake) fake = fake_new();
  g_autoptr(PinCall) long_read = must_gather(fake, "read", ARGS(10, FAKE_BASE, 1ul << 40));
  g_assert_cmpuint(long_read->args[2], ==, PINCALL_BYTES_MAX);
  g_assert_cmpuint(long_read->asked, ==, 1ul << 40);
  g_autoptr(PinCall) long_write = must_gather(fake, "write", ARGS(10, FAKE_BASE, 2 * PINCALL_BYTES_MAX));
  g_assert_cmpuint(pincall_payload(long_write), ==, PINCALL_BYTES_MAX);
  g_autoptr(PinCall) rest = gather(fake, "write", ARGS(10, FAKE_BASE, 3000), 2990, NULL);
  g_assert_cmpuint(rest->args[2], ==, 10);
  g_assert_cmpuint(rest->asked, ==, 3000);
  /* Garbage above a 32-bit length does not count; a negative one is beyond all bounds. */
  g_autoptr(PinCall) narrow =
      must_gather(fake, "setsockopt", ARGS(10, SOL_SOCKET, SO_RCVBUF, FAKE_BASE, 0xabcd00000004));
  g_assert_cmpuint(narrow->args[4], ==, 4);
  assert_not_gathered(fake, "setsockopt", ARGS(10, SOL_SOCKET, SO_RCVBUF, FAKE_BASE, (guint64)-1));
  assert_not_gathered(fake, "setsockopt", ARGS(10, SOL_SOCKET, SO_RCVBUF, FAKE_BASE, 2 * PINCALL_BYTES_MAX));
  assert_not_gathered(fake, "write", ARGS(10, FAKE_BASE - 1, 5));
  assert_not_gathered(fake, "write", ARGS(10, FAKE_BASE + FAKE_SIZE - 4, 5));
  assert_not_gathered(fake, "bind", ARGS(10, FAKE_BASE, 129));
  assert_not_gathered(fake, "writev", ARGS(10, FAKE_BASE, 1025));
  assert_not_gathered(fake, "ppoll", ARGS(FAKE_BASE, 0, 0, FAKE_BASE, 16));
  assert_not_gathered(fake, "getsockname", ARGS(10, FAKE_BASE, 0));
  assert_not_gathered(fake, "epoll_pwait", ARGS(10, FAKE_BASE, 1, 0, FAKE_BASE, 4));
  g_autoptr(PinCall) events = must_gather(fake, "epoll_pwait", ARGS(10, FAKE_BASE, 1 << 20, 0, 0, 8));
  g_assert_cmpuint(events->args[2], <=, PINCALL_BYTES_MAX / 12);
  g_autoptr(PinCall) nothing = must_gather(fake, "accept", ARGS(10, 0, FAKE_BASE));
  g_assert_cmpuint(nothing->args[2], ==, 0);
}

static void
test_texts(void)
{
  g_autoptr(Fake) fake = fake_new();
  char path[5000];
  memset(path, 'a', sizeof path);
  path[0] = '/';
  path[4095] = '\0';
  guint64 address = fake_put(fake, path, sizeof path);
  g_autoptr(PinCall) call = must_gather(fake, "openat", ARGS(AT_FDCWD, address, 0));
  g_assert_cmpuint(pincall_region(call, 0)->in, ==, 4096);
  path[4095] = 'a';
  assert_not_gathered(fake, "openat", ARGS(AT_FDCWD, fake_put(fake, path, sizeof path), 0));
  /* At the very end of memory. */
  memcpy(fake->bytes + FAKE_SIZE - 5, "/dev", 5);
  g_autoptr(PinCall) last = must_gather(fake, "openat", ARGS(AT_FDCWD, FAKE_BASE + FAKE_SIZE - 5, 0));
  g_assert_cmpstr((char *)pincall_region(last, 0)->bytes, ==, "/dev");
  memcpy(fake->bytes + FAKE_SIZE - 4, "/dev", 4);
  assert_not_gathered(fake, "openat", ARGS(AT_FDCWD, FAKE_BASE + FAKE_SIZE - 4, 0));
  /* A directory of the clone's own does not matter to an absolute path; an empty one means it. */
  guint64 null = fake_put(fake, "/dev/null", 10), empty = fake_put(fake, "", 1),
          name = fake_put(fake, "null", 5);
  g_autoptr(PinCall) absolute = must_gather(fake, "openat", ARGS(3, null, 0));
  g_assert_cmpint((gint64)absolute->args[0], ==, AT_FDCWD);
  assert_not_gathered(fake, "newfstatat", ARGS(3, empty, FAKE_BASE, AT_EMPTY_PATH));
  assert_not_gathered(fake, "utimensat", ARGS(3, 0, 0, 0));
  g_autoptr(PinCall) descriptor = must_gather(fake, "utimensat", ARGS(10, 0, 0, 0));
  g_assert_true(pincall_permitted(descriptor, NULL, NULL));
  /* A relative path is refused until the caller has made it absolute. */
  g_autoptr(PinCall) relative = must_gather(fake, "openat", ARGS(3, name, 0));
  g_assert_false(pincall_permitted(relative, NULL, NULL));
  pincall_set_path(relative, 0, "/dev/null");
  g_assert_true(pincall_permitted(relative, NULL, NULL));
  g_assert_true(pincall_check(relative, NULL));
}

static void
test_policy(void)
{
  g_autoptr(Fake) fake = fake_new();
  static const struct {
    const char *path;
    gboolean permitted;
  } paths[] = {{"/dev/tty", TRUE},
               {"/dev//./snd/pcm", TRUE},
               {"/sys/class/power_supply", TRUE},
               {"/dev", TRUE},
               {"/device/x", FALSE},
               {"/etc/shadow", FALSE},
               {"/dev/../etc/shadow", FALSE},
               {"/", FALSE},
               {"/dev/shm/file", FALSE},
               {"/dev/fd/7", FALSE},
               {"/dev/./mem", FALSE},
               {"dev/tty", FALSE},
               {"/proc/self/mem", FALSE}};
  for (guint i = 0; i < G_N_ELEMENTS(paths); i++) {
    guint64 address = fake_put(fake, paths[i].path, strlen(paths[i].path) + 1);
    g_autoptr(PinCall) call = must_gather(fake, "openat", ARGS(AT_FDCWD, address, O_RDWR));
    g_test_message("%s", paths[i].path);
    g_assert_cmpint(pincall_permitted(call, NULL, NULL), ==, paths[i].permitted);
  }
  guint64 tty = fake_put(fake, "/dev/tty", 9);
  g_autoptr(PinCall) change = must_gather(fake, "fchownat", ARGS(AT_FDCWD, tty, 0, 0, 0));
  g_assert_false(pincall_permitted(change, NULL, NULL));
  assert_not_gathered(fake, "unlinkat", ARGS(AT_FDCWD, tty, 0));
  const char *const only_tty[] = {"/dev/tty", NULL};
  g_autoptr(PinCall) open = must_gather(fake, "openat", ARGS(AT_FDCWD, tty, O_RDWR));
  g_assert_true(pincall_permitted(open, &(PinPolicy){only_tty}, NULL));
  g_autoptr(PinCall) null =
      must_gather(fake, "openat", ARGS(AT_FDCWD, fake_put(fake, "/dev/null", 10), O_RDWR));
  g_assert_false(pincall_permitted(null, &(PinPolicy){only_tty}, NULL));

  /* Rows that are never forwarded are refused, however well formed. */
  static const char *const never[] = {"ptrace", "fork", "exit_group", "brk", "setsid", "umask"};
  for (guint i = 0; i < G_N_ELEMENTS(never); i++) {
    g_autoptr(PinCall) call = pincall_new(syscall_row_named(never[i]));
    g_autoptr(GError) error = NULL;
    g_assert_false(pincall_permitted(call, NULL, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  }
  g_autoptr(PinCall) no_pin = pincall_new(syscall_row_named("fsync"));
  no_pin->args[0] = G_MAXUINT64;
  g_assert_false(pincall_permitted(no_pin, NULL, NULL));
  g_autoptr(PinCall) everyone = pincall_new(syscall_row_named("kill"));
  everyone->args[0] = 0xffffffff;
  everyone->args[1] = 9;
  g_assert_false(pincall_permitted(everyone, NULL, NULL));
  everyone->args[0] = 1234;
  g_assert_true(pincall_permitted(everyone, NULL, NULL));
}

static void
assert_hostile(const PinCall *call, const char *what)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GByteArray) packed = pincall_pack(call);
  g_autoptr(PinCall) back = pincall_unpack(packed->data, packed->len, &error);
  if (back)
    g_error("%s: %s was taken", call->row->name, what);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
resize(PinRegion *region, guint32 in)
{
  region->bytes = g_realloc(region->bytes, in + 1);
  if (in > region->in)
    memset(region->bytes + region->in, 0, in - region->in);
  region->in = in;
}

/* Every region of every sample, bent in every way that must show. */
static void
test_hostile_regions(void)
{
  for (guint i = 0; i < fake_samples(); i++) {
    g_autoptr(Fake) fake = fake_new();
    g_autoptr(PinCall) call = fake_sample(fake, i);
    for (guint r = 0; r < call->regions->len; r++) {
      g_autoptr(PinCall) bent = pincall_copy(call);
      PinRegion *region = pincall_region(bent, r);
      guint arg = region->arg, part = region->part;
      region->arg = (arg + 1) % 6;
      assert_hostile(bent, "a region of another argument");
      region->arg = arg;
      region->part = part == PIN_PART_NAME ? PIN_PART_CONTROL : PIN_PART_NAME;
      assert_hostile(bent, "a region of another part");
      region->part = part;
      region->message += 1;
      assert_hostile(bent, "a region of another message");
      region->message -= 1;
      if (part == PIN_PART_WHOLE && pincall_argument(bent, arg).kind != SYSCALL_ARG_PATH) {
        region->room += 1;
        assert_hostile(bent, "a room that is too large");
        region->room -= 1;
      }
      region->room = PINCALL_BYTES_MAX * 3;
      assert_hostile(bent, "an immense room");
      g_autoptr(PinCall) shorter = pincall_copy(call);
      g_array_remove_index(shorter->regions, r);
      assert_hostile(shorter, "a region too few");
      g_autoptr(PinCall) longer = pincall_copy(call);
      pincall_add_region(longer, arg, part, pincall_region(call, r)->message, 4, 0);
      assert_hostile(longer, "a region too many");
    }
  }
}

static void
test_hostile_arguments(void)
{
  for (guint i = 0; i < fake_samples(); i++) {
    g_autoptr(Fake) fake = fake_new();
    g_autoptr(PinCall) call = fake_sample(fake, i);
    for (guint arg = 0; arg < 6; arg++) {
      SyscallArgKind kind = pincall_argument(call, arg).kind;
      if (kind == SYSCALL_ARG_INT)
        continue;
      g_autoptr(PinCall) bent = pincall_copy(call);
      bent->args[arg] = 0x7ffffff000;
      assert_hostile(bent, "an address");
      if (!pincall_kind_is_pointer(kind))
        continue;
      bent->args[arg] = !call->args[arg];
      assert_hostile(bent, "a pointer without a region, or a region without a pointer");
    }
  }
}

static PinCall *
sample_named(Fake *fake, const char *name)
{
  for (guint i = 0; i < fake_samples(); i++) {
    PinCall *call = fake_sample(fake, i);
    if (strcmp(call->row->name, name) == 0)
      return call;
    pincall_free(call);
  }
  g_assert_not_reached();
}

static void
test_hostile_contents(void)
{
  g_autoptr(Fake) fake = fake_new();
  g_autoptr(PinCall) open = sample_named(fake, "openat");
  pincall_region(open, 0)->bytes[2] = '\0';
  assert_hostile(open, "a path with an end inside");
  pincall_region(open, 0)->bytes[2] = 'e';
  pincall_region(open, 0)->bytes[9] = 'x';
  assert_hostile(open, "a path without an end");

  g_autoptr(PinCall) lengths = sample_named(fake, "getsockopt");
  memcpy(pincall_region(lengths, 0)->bytes, "\xff\xff\xff\xff", 4);
  assert_hostile(lengths, "a negative length");

  g_autoptr(PinCall) message = sample_named(fake, "sendmsg");
  PinMessageHeader header = pincall_header(pincall_region(message, 0));
  header.segments = 0x10000001;
  memcpy(pincall_region(message, 0)->bytes, &header, sizeof header);
  assert_hostile(message, "more segments than there are");
  header.segments = 2;
  header.present |= 8;
  memcpy(pincall_region(message, 0)->bytes, &header, sizeof header);
  assert_hostile(message, "an unknown part of a message");
  g_autoptr(PinCall) control = sample_named(fake, "sendmsg");
  gint at = pincall_find_region(control, 1, PIN_PART_CONTROL);
  guint64 length = 5;
  memcpy(pincall_region(control, at)->bytes, &length, 8);
  assert_hostile(control, "control data that is shorter than its header");
  length = G_MAXUINT64 - 3;
  memcpy(pincall_region(control, at)->bytes, &length, 8);
  assert_hostile(control, "control data longer than there is");

  g_autoptr(PinCall) set = sample_named(fake, "pselect6");
  PinSetEntry entry = {65, 1010};
  memcpy(pincall_region(set, 0)->bytes, &entry, sizeof entry);
  assert_hostile(set, "a descriptor beyond the set");
  entry = (PinSetEntry){4, 0x80000000};
  memcpy(pincall_region(set, 0)->bytes, &entry, sizeof entry);
  assert_hostile(set, "a pin that cannot be");

  g_autoptr(PinCall) sized = sample_named(fake, "sched_setattr");
  resize(pincall_region(sized, 0), 16);
  assert_hostile(sized, "a structure of another size than it states");

  g_autoptr(PinCall) sti = sample_named(fake, "ioctl");
  sti->args[1] = TIOCSTI;
  assert_hostile(sti, "a request to type in the user's name");
  g_autoptr(PinCall) filter = sample_named(fake, "setsockopt");
  filter->args[2] = SO_ATTACH_FILTER;
  assert_hostile(filter, "an option that holds a pointer");
}

/* Bytes bent at random: nothing but a refusal, or a call that passes all checks and can be placed. */
static void
test_random_bytes(void)
{
  for (guint i = 0; i < fake_samples(); i++) {
    g_autoptr(Fake) fake = fake_new();
    g_autoptr(PinCall) call = fake_sample(fake, i);
    g_autoptr(GByteArray) packed = pincall_pack(call);
    for (guint round = 0; round < 400; round++) {
      g_autofree guint8 *bytes = g_memdup2(packed->data, packed->len);
      gsize length =
          g_test_rand_int_range(0, 4) == 0 ? g_test_rand_int_range(0, packed->len + 1) : packed->len;
      for (guint bends = g_test_rand_int_range(1, 4); length > 0 && bends > 0; bends--)
        bytes[g_test_rand_int_range(0, length)] ^= 1 << g_test_rand_int_range(0, 8);
      g_autoptr(GError) error = NULL;
      g_autoptr(PinCall) back = pincall_unpack(bytes, length, &error);
      g_assert_true((back == NULL) == (error != NULL));
      if (!back || !pincall_permitted(back, NULL, NULL))
        continue;
      g_autoptr(PinPlacement) placement =
          pincall_place(back, 0x700000000000, PINCALL_SCRATCH, fake_fd_of_pin, fake, &error);
      g_assert_true(placement || g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED));
    }
  }
}

static void
test_placing(void)
{
  g_autoptr(Fake) fake = fake_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(PinCall) call = must_gather(fake, "write", ARGS(10, FAKE_BASE, 100));
  g_assert_null(pincall_place(call, 0x1000, 64, fake_fd_of_pin, fake, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_clear_error(&error);
  call->args[0] = 7; /* never handed out */
  g_assert_null(pincall_place(call, 0x1000, 4096, fake_fd_of_pin, fake, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
  g_assert_cmpuint(fake->last_pin, ==, 7);
  g_clear_error(&error);
  g_autoptr(PinCall) rights = sample_named(fake, "sendmsg");
  gint32 stranger = 9;
  memcpy(pincall_region(rights, pincall_find_region(rights, 1, PIN_PART_CONTROL))->bytes + CMSG_LEN(4),
         &stranger, 4);
  g_assert_null(pincall_place(rights, 0x1000, 4096, fake_fd_of_pin, fake, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED);
}

static void
assert_result(const PinCall *call, const PinResult *result, gboolean right)
{
  g_autoptr(GByteArray) packed = pinresult_pack(result);
  g_autoptr(GError) error = NULL;
  g_autoptr(PinResult) back = pinresult_unpack(call, packed->data, packed->len, &error);
  g_assert_cmpint(back != NULL, ==, right);
  if (!right)
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

/* One result, of one blob. */
static void
assert_one(const PinCall *call, gint64 value, guint region, const void *bytes, gsize length, gboolean right)
{
  g_autoptr(PinResult) result = pinresult_new(value);
  if (length > 0)
    pinresult_add(result, region, bytes, length);
  assert_result(call, result, right);
}

static void
test_results(void)
{
  g_autoptr(Fake) fake = fake_new();
  guint8 zeros[512] = {};
  g_autoptr(PinCall) read = sample_named(fake, "read"); /* of 100 bytes */
  assert_one(read, 5, 0, zeros, 5, TRUE);
  assert_one(read, 0, 0, zeros, 0, TRUE);
  assert_one(read, -EAGAIN, 0, zeros, 0, TRUE);
  assert_one(read, 5, 0, zeros, 6, FALSE);
  assert_one(read, 101, 0, zeros, 100, FALSE);
  assert_one(read, 5, 1, zeros, 5, FALSE);
  assert_one(read, -EIO, 0, zeros, 5, FALSE);
  assert_one(read, -5000, 0, zeros, 0, FALSE);
  g_autoptr(PinCall) write = sample_named(fake, "write");
  assert_one(write, 300, 0, zeros, 0, TRUE);
  assert_one(write, 301, 0, zeros, 0, FALSE);
  assert_one(write, 3, 0, zeros, 3, FALSE);
  g_autoptr(PinCall) get = sample_named(fake, "ioctl");
  assert_one(get, 0, 0, zeros, 36, TRUE);
  assert_one(get, -ENOTTY, 0, zeros, 36, TRUE); /* as it was */
  assert_one(get, 0, 0, zeros, 35, FALSE);
  assert_one(get, 0, 0, zeros, 37, FALSE);
  g_autoptr(PinCall) socket = sample_named(fake, "socket");
  assert_one(socket, 7, 0, zeros, 0, TRUE);
  assert_one(socket, 0x80000000, 0, zeros, 0, FALSE);
  g_autoptr(PinCall) poll = sample_named(fake, "poll");
  assert_one(poll, 1, 0, zeros, 6, TRUE);
  assert_one(poll, 1, 0, zeros, 24, FALSE);
  g_autoptr(PinCall) receive = sample_named(fake, "recvmsg");
  PinMessageHeader header = {.name = 6, .control = 16};
  g_autoptr(PinResult) good = pinresult_new(10);
  pinresult_add(good, 0, &header, sizeof header);
  pinresult_add(good, 1, zeros, 6);
  pinresult_add(good, 3, zeros, 3);
  pinresult_add(good, 4, zeros, 7);
  assert_result(receive, good, TRUE);
  pinresult_add(good, 3, zeros, 3);
  assert_result(receive, good, FALSE);          /* out of order */
  assert_one(receive, 10, 2, zeros, 16, FALSE); /* a control item of no length */
  assert_one(receive, 74, 0, zeros, 0, FALSE);
  receive->args[2] = MSG_TRUNC;
  assert_one(receive, 74, 0, zeros, 0, TRUE);
  g_autoptr(PinCall) many = sample_named(fake, "sendmmsg");
  assert_one(many, 3, 0, zeros, 0, TRUE);
  assert_one(many, 4, 0, zeros, 0, FALSE);
  g_autoptr(PinCall) set = sample_named(fake, "pselect6");
  assert_one(set, 1, 0, zeros, sizeof(PinSetEntry), TRUE);
  assert_one(set, 1, 0, zeros, sizeof(PinSetEntry) - 1, FALSE);
  g_autoptr(PinCall) name = sample_named(fake, "accept4");
  assert_one(name, 3, 0, zeros, 4, TRUE);
  assert_one(name, 3, 0, zeros, 3, FALSE);
  assert_one(name, 3, 1, zeros, 16, TRUE);
  assert_one(name, 3, 1, zeros, 17, FALSE);
}

static void
test_scatter_fails(void)
{
  g_autoptr(Fake) fake = fake_new();
  MirrorMemoryOps memory = fake_memory(fake);
  g_autoptr(PinCall) call = must_gather(fake, "read", ARGS(10, FAKE_BASE + FAKE_SIZE - 2, 100));
  g_autoptr(PinResult) result = pinresult_new(3);
  pinresult_add(result, 0, "abc", 3);
  gint64 value;
  g_autoptr(GError) error = NULL;
  g_assert_false(pincall_scatter(call, result, &memory, fake_fd_of_pin, fake, &value, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
}

static gboolean
buffered(Fake *fake, const char *name, const guint64 args[6])
{
  g_autoptr(PinCall) call = must_gather(fake, name, args);
  return pincall_may_be_buffered(call);
}

static void
test_buffering(void)
{
  g_autoptr(Fake) fake = fake_new();
  g_assert_true(buffered(fake, "write", ARGS(10, FAKE_BASE, 5)));
  g_assert_true(buffered(fake, "writev", ARGS(10, FAKE_BASE, 0)));
  g_assert_true(buffered(fake, "sendto", ARGS(10, FAKE_BASE, 5, MSG_NOSIGNAL)));
  g_assert_false(buffered(fake, "sendto", ARGS(10, FAKE_BASE, 5, MSG_OOB)));
  g_assert_false(buffered(fake, "sendto", ARGS(10, FAKE_BASE, 5, 0, FAKE_BASE, 16)));
  g_assert_false(buffered(fake, "pwrite64", ARGS(10, FAKE_BASE, 5, 0)));
  g_assert_false(buffered(fake, "read", ARGS(10, FAKE_BASE, 5)));
  g_autoptr(PinCall) message = sample_named(fake, "sendmsg");
  g_assert_false(pincall_may_be_buffered(message));
  struct msghdr bare = {};
  g_assert_true(buffered(fake, "sendmsg", ARGS(10, fake_put(fake, &bare, sizeof bare))));
  g_assert_true(pincall_is_stream_output(syscall_row_named("write")));
  g_assert_false(pincall_is_stream_output(syscall_row_named("read")));
  g_assert_true(pincall_is_stream_input(syscall_row_named("recvmsg")));
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/pincall/round-trips", test_round_trips);
  g_test_add_func("/pincall/descriptors", test_descriptors);
  g_test_add_func("/pincall/sets", test_sets);
  g_test_add_func("/pincall/lengths", test_lengths);
  g_test_add_func("/pincall/texts", test_texts);
  g_test_add_func("/pincall/policy", test_policy);
  g_test_add_func("/pincall/hostile/regions", test_hostile_regions);
  g_test_add_func("/pincall/hostile/arguments", test_hostile_arguments);
  g_test_add_func("/pincall/hostile/contents", test_hostile_contents);
  g_test_add_func("/pincall/hostile/random-bytes", test_random_bytes);
  g_test_add_func("/pincall/placing", test_placing);
  g_test_add_func("/pincall/results", test_results);
  g_test_add_func("/pincall/scatter-fails", test_scatter_fails);
  g_test_add_func("/pincall/buffering", test_buffering);
  return g_test_run();
}
