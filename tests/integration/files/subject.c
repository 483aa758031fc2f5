/* Programs in one: `subject OPERATION DIRECTORY`. Everything that is to be off-loaded happens in block();
 * what is before, between and after is the device's. Says on stdout what it saw; the test compares that, and
 * DIRECTORY, with a run without doppel. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef int (*Work)(void);

/* The function that is named to doppel. */
__attribute__((noinline)) int
block(Work work)
{
  int result = work();
  __asm__ volatile("" ::: "memory");
  return result;
}

/* ---- small things ---- */

static int
put(const char *name, const char *text, int flags, int mode)
{
  int fd = open(name, flags | O_WRONLY, mode);
  if (fd < 0)
    return -errno;
  ssize_t put = write(fd, text, strlen(text));
  int failure = put == (ssize_t)strlen(text) ? 0 : errno ? errno : EIO;
  close(fd);
  return -failure;
}

static int
create(const char *name, const char *text)
{
  return put(name, text, O_CREAT | O_TRUNC, 0644);
}

/* The content, the type, or the error: something to print. */
static const char *
get(const char *name)
{
  static char text[4][4096];
  static int next;
  char *room = text[next++ % 4];
  struct stat facts;
  if (lstat(name, &facts) < 0)
    return strerror(errno);
  if (S_ISLNK(facts.st_mode)) {
    ssize_t length = readlink(name, room, 4095);
    room[length < 0 ? 0 : length] = '\0';
    return room;
  }
  if (!S_ISREG(facts.st_mode))
    return S_ISDIR(facts.st_mode) ? "directory" : "other";
  int fd = open(name, O_RDONLY);
  ssize_t length = fd < 0 ? 0 : read(fd, room, 4095);
  if (fd < 0)
    return strerror(errno);
  room[length < 0 ? 0 : length] = '\0';
  close(fd);
  return room;
}

static void
make_link(const char *target, const char *name)
{
  if (symlink(target, name) < 0)
    printf("cannot link %s: %s\n", name, strerror(errno));
}

/* The same for several threads. */
static const char *
get_alone(const char *name)
{
  static __thread char text[4096];
  int fd = open(name, O_RDONLY);
  ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  text[length < 0 ? 0 : length] = '\0';
  close(fd);
  return text;
}

static int
by_name(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A directory's names in order, in one line. */
static const char *
list(const char *name)
{
  static char line[65536];
  char *names[4096];
  int count = 0;
  DIR *directory = opendir(name);
  if (!directory)
    return strerror(errno);
  for (struct dirent *entry; count < 4096 && (entry = readdir(directory));)
    names[count++] = strdup(entry->d_name);
  closedir(directory);
  qsort(names, count, sizeof *names, by_name);
  *line = '\0';
  for (int i = 0; i < count; i++) {
    if (strlen(line) + strlen(names[i]) + 2 < sizeof line)
      strcat(strcat(line, names[i]), " ");
    free(names[i]);
  }
  return line;
}

static void
say(const char *what, const char *value)
{
  printf("%s: %s\n", what, value);
}

static void
say_number(const char *what, long value)
{
  printf("%s: %ld\n", what, value);
}

static ino_t
inode(const char *name)
{
  struct stat facts;
  return stat(name, &facts) == 0 ? facts.st_ino : 0;
}

/* ---- one block, many changes ---- */

static int
change_everything(void)
{
  struct timespec times[2] = {{1000000000, 5}, {1000000001, 123456789}};
  int bad = 0;
  bad |= create("made", "made in a block\n");
  bad |= put("appended", "and more\n", O_APPEND, 0);
  bad |= rename("renamed-from", "renamed-to");
  bad |= create("replacement", "the new one\n") | rename("replacement", "replaced");
  bad |= unlink("unlinked");
  bad |= mkdir("directory", 0750) | create("directory/in-it", "deep\n") | mkdir("directory/deeper", 0700);
  bad |= symlink("made", "symlink") | symlink("nowhere", "dangling");
  bad |= link("made", "hard-link");
  bad |= truncate("truncated", 3) | truncate("lengthened", 5000);
  bad |= chmod("moded", 0640);
  bad |= utimensat(AT_FDCWD, "timed", times, 0);
  bad |= rmdir("removed-directory");
  bad |= mkfifo("fifo", 0600);
  bad |= setxattr("moded", "user.doppel-test", "value", 5, 0);
  bad |= unlink("full/one") | unlink("full/two") | rmdir("full");
  bad |=
      unlink("becomes-directory") | mkdir("becomes-directory", 0755) | create("becomes-directory/file", "x");
  int fd = open("overwritten", O_WRONLY);
  bad |= pwrite(fd, "MIDDLE", 6, 10) != 6;
  close(fd);
  return bad;
}

static void
operation_changes(void)
{
  static const char *const files[] = {"appended",  "renamed-from",      "replaced",   "unlinked",
                                      "truncated", "lengthened",        "moded",      "timed",
                                      "untouched", "becomes-directory", "overwritten"};
  for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
    create(files[i], "this is what was in the file before\n");
  mkdir("removed-directory", 0755);
  mkdir("full", 0755);
  create("full/one", "1");
  create("full/two", "2");
  ino_t appended = inode("appended"), renamed = inode("renamed-from"), replaced = inode("replaced");
  say_number("block", block(change_everything));
  say_number("the appended file is the same", appended == inode("appended"));
  say_number("the renamed file is the same", renamed == inode("renamed-to"));
  say_number("the replaced file is the same", replaced == inode("replaced"));
  say("made", get("made"));
  say("names", list("."));
}

/* ---- what the device does between blocks, and what it sees after them ---- */

static const char *watched = "thing";

static int
look(void)
{
  printf("block sees %s: %s; in: %s\n", watched, get(watched), list("."));
  return 0;
}

static void
operation_between(void)
{
  block(look);
  create("thing", "one"); /* a name that was looked up before it was there */
  block(look);
  create("thing", "two, longer");
  block(look);
  put("thing", " and appended", O_APPEND, 0);
  block(look);
  create("other", "three");
  rename("other", "thing");
  block(look);
  unlink("thing");
  block(look);
  mkdir("thing", 0755);
  block(look);
  watched = "thing/inside";
  block(look);
  create("thing/inside", "deep");
  block(look);
  rename("thing", "moved");
  block(look);
  watched = "moved/inside";
  block(look);
  symlink("moved", "thing");
  watched = "thing/inside";
  block(look);
}

static int step;

static int
take_turns(void)
{
  char name[32], text[64];
  printf("block %d before: %s\n", step, get("shared"));
  snprintf(text, sizeof text, "block %d;", step);
  put("shared", text, O_APPEND | O_CREAT, 0600);
  snprintf(name, sizeof name, "block-%d", step);
  create(name, text);
  snprintf(name, sizeof name, "here-%d", step - 1);
  printf("block %d finds %s: %s\n", step, name, get(name));
  if (step > 2) {
    snprintf(name, sizeof name, "block-%d", step - 2);
    printf("block %d removes %s: %d\n", step, name, unlink(name));
  }
  if (step % 2)
    rename("shared", "shared.new"), rename("shared.new", "shared");
  return 0;
}

static void
operation_turns(void)
{
  for (step = 0; step < 8; step++) {
    char name[32], text[64];
    block(take_turns);
    snprintf(text, sizeof text, "here %d;", step);
    put("shared", text, O_APPEND, 0);
    snprintf(name, sizeof name, "here-%d", step);
    create(name, text);
    snprintf(name, sizeof name, "block-%d", step);
    printf("here %d finds %s: %s\n", step, name, get(name));
    if (step > 3) {
      snprintf(name, sizeof name, "here-%d", step - 3);
      unlink(name);
    }
    say("names", list("."));
  }
  say("shared", get("shared"));
}

static int
look_inside(void)
{
  printf("block lists: %s", list("again"));
  return printf("; finds %s\n", get("again/file")) < 0;
}

/* The same name, another directory. */
static void
operation_again(void)
{
  for (int i = 0; i < 3; i++) {
    char name[32];
    mkdir("again", 0755);
    snprintf(name, sizeof name, "again/file-%d", i);
    create(name, "x");
    create("again/file", name);
    block(look_inside);
    block(look_inside);
    unlink(name);
    unlink("again/file");
    rmdir("again");
    if (i == 1)
      block(look_inside);
  }
}

/* ---- open descriptors ---- */

static int kept, reader;

static int
write_more(void)
{
  char text[8] = "";
  if (write(kept, "from the block;", 15) != 15)
    return errno;
  if (read(reader, text, 4) != 4)
    return errno;
  return printf("block reads %s\n", text) < 0;
}

static int
open_there(void)
{
  kept = open("born-open", O_CREAT | O_RDWR | O_APPEND, 0644);
  return write(kept, "first;", 6) != 6;
}

static void
operation_open(void)
{
  create("log", "start;");
  create("input", "aaaabbbbccccdddd");
  kept = open("log", O_WRONLY | O_APPEND);
  reader = open("input", O_RDONLY);
  for (int i = 0; i < 3; i++) {
    say_number("block", block(write_more));
    say_number("written here", write(kept, "from here;", 10));
  }
  char rest[8] = "";
  say_number("read", read(reader, rest, 4));
  say("rest", rest);
  say_number("offset", lseek(kept, 0, SEEK_CUR));
  say_number("the open file is the named one", ({
               struct stat facts;
               fstat(kept, &facts);
               facts.st_ino == inode("log");
             }));
  close(kept);
  say("log", get("log"));
  say_number("opened there", block(open_there));
  say_number("written here", write(kept, "second;", 7));
  close(kept);
  say("born-open", get("born-open"));
}

/* ---- temporary files ---- */

static int
use_temporary(void)
{
  char text[64] = "";
  FILE *file = tmpfile();
  if (!file)
    return errno;
  fprintf(file, "temporary %d\n", 42);
  rewind(file);
  if (!fgets(text, sizeof text, file))
    return errno;
  fclose(file);
  printf("block reads back %s", text);
  char name[] = "work-XXXXXX";
  int fd = mkstemp(name);
  unlink(name);
  int bad = write(fd, "gone", 4) != 4;
  close(fd);
  return bad;
}

static void
operation_temporary(void)
{
  say_number("block", block(use_temporary));
  say("names", list("."));
}

/* ---- working directory ---- */

static int
move_in(void)
{
  return mkdir("a", 0755) | mkdir("a/b", 0755) | chdir("a/b") | create("here", "in b\n");
}

static int
relative(void)
{
  printf("block finds %s", get("here"));
  return create("../up", "in a\n");
}

static void
operation_directory(void)
{
  char cwd[4096];
  say_number("block", block(move_in));
  say("name", strrchr(getcwd(cwd, sizeof cwd), '/'));
  say("here", get("here"));
  create("here", "changed on the device\n");
  say_number("block", block(relative));
  say("up", get("../up"));
  say("names", list(".."));
}

/* ---- a big file ---- */

enum { BIG = 100 << 20 };

static int
change_a_little(void)
{
  char page[4096];
  memset(page, 'y', sizeof page);
  int fd = open("big", O_WRONLY);
  int bad = pwrite(fd, page, sizeof page, 50 << 20) != sizeof page;
  close(fd);
  return bad;
}

static void
operation_big(void)
{
  int fd = open("big", O_CREAT | O_RDWR, 0644);
  char *bytes =
      ftruncate(fd, BIG) == 0 ? mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  unsigned seed = 1;
  for (int i = 0; bytes != MAP_FAILED && i < BIG; i += 64)
    bytes[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
  munmap(bytes, BIG);
  close(fd);
  ino_t before = inode("big");
  say_number("block", block(change_a_little));
  say_number("the same file", inode("big") == before);
}

/* ---- a mapping to write through ---- */

static char *mapped;

static int
write_mapping(void)
{
  mapped[5] = 'B';
  mapped[4096] += 1;
  return mapped[6] != 'd';
}

static void
operation_mapped(void)
{
  int fd = open("mapped", O_CREAT | O_RDWR, 0644);
  if (ftruncate(fd, 8192) < 0)
    return;
  mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  for (int i = 0; i < 4; i++) {
    mapped[4096] += 1;
    mapped[6] = 'd';
    say_number("block", block(write_mapping));
    char byte = 0;
    say_number("read", pread(fd, &byte, 1, 4096));
    say_number("counted", byte);
  }
  say_number("changed", mapped[5]);
}

/* ---- somebody else's change, while the block runs ---- */

static int
wait_then_write(void)
{
  char line[64] = "", text[64];
  snprintf(text, sizeof text, "%s", get("contested"));
  printf("ready\n");
  fflush(stdout);
  if (read(0, line, sizeof line) <= 0)
    return 1;
  return put("contested", "block was here;", O_APPEND, 0);
}

static void
operation_conflict(void)
{
  create("contested", "before;");
  say_number("block", block(wait_then_write));
  say("contested", get("contested"));
}

/* ---- a full disk ---- */

static int
fill(void)
{
  static char chunk[1 << 20];
  int fd = open("filler", O_CREAT | O_WRONLY | O_TRUNC, 0644);
  long done = 0;
  memset(chunk, 'f', sizeof chunk);
  while (done < 16 << 20) {
    ssize_t put = write(fd, chunk, sizeof chunk);
    if (put < 0)
      break;
    done += put;
  }
  int failure = done < 16 << 20 ? errno : 0;
  close(fd);
  printf("block: %s\n", strerror(failure));
  return failure;
}

static void
operation_full(void)
{
  create("precious", "keep me\n");
  say_number("block", block(fill) == ENOSPC);
  say("precious", get("precious"));
  unlink("filler");
}

/* ---- two file systems ---- */

static int
write_both(void)
{
  int bad = create("one/file", "in one\n") | put("two/file", "more in two\n", O_APPEND, 0) |
            mkdir("two/directory", 0711);
  errno = 0;
  bad |= rename("one/moves", "two/moved") == 0 || errno != EXDEV;
  return bad;
}

static void
operation_mounts(void)
{
  create("two/file", "in two\n");
  create("one/moves", "cannot\n");
  say_number("block", block(write_both));
  say("one", list("one"));
  say("two", list("two"));
  say("two/file", get("two/file"));
}

/* ---- all kinds of paths ---- */

static void
try_path(int directory, const char *path, int flags)
{
  struct stat facts = {0};
  char byte = '-', target[64] = "";
  int found = fstatat(directory, path, &facts, flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0) < 0 ? errno : 0;
  int fd = openat(directory, path, flags | O_RDONLY | O_NONBLOCK), opened = fd < 0 ? errno : 0;
  if (fd >= 0 && S_ISREG(facts.st_mode))
    (void)!read(fd, &byte, 1);
  if (fd >= 0)
    close(fd);
  long length = readlinkat(directory, path, target, 8);
  if (length < 0)
    length = -errno;
  int access = faccessat(directory, path, X_OK, 0) < 0 ? errno : 0;
  printf("%.40s %o: stat %d (%o), open %d, '%c', link %ld %s, access %d\n", path, flags, found, facts.st_mode,
         opened, byte, length, target, access);
}

static int
walk_about(void)
{
  static const char *const paths[] = {"plain",
                                      "plain/",
                                      "plain/x",
                                      "./d/../plain",
                                      "d",
                                      "d/",
                                      "d/.",
                                      "d/..",
                                      "d/../d/inside",
                                      "to-plain",
                                      "to-plain/",
                                      "to-d",
                                      "to-d/",
                                      "to-d/inside",
                                      "to-d/../plain",
                                      "loop",
                                      "loop/x",
                                      "dangling",
                                      "absolute",
                                      "",
                                      "nothing",
                                      "nothing/x",
                                      "closed/x",
                                      "closed",
                                      "/",
                                      "/..",
                                      "//",
                                      "/../etc/passwd",
                                      "chain-0",
                                      "chain-33",
                                      "/dev/null",
                                      "/dev/./null",
                                      "/proc/self/fd/../cwd/plain",
                                      "/proc/self/cwd/d/inside",
                                      "/proc/self/root/etc/passwd",
                                      "/dev/fd",
                                      "/proc/self/exe",
                                      "/proc/thread-self/cwd/plain",
                                      "/sys/devices/system/cpu",
                                      "/proc/cpuinfo",
                                      "/sys/kernel",
                                      "/dev",
                                      "pipe"};
  char longest[5000], name[300], through[64];
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = '\0';
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
    try_path(AT_FDCWD, paths[i], 0);
    try_path(AT_FDCWD, paths[i], O_NOFOLLOW);
  }
  try_path(AT_FDCWD, longest, 0);
  try_path(AT_FDCWD, name, 0);
  int d = open("d", O_PATH | O_DIRECTORY);
  try_path(d, "inside", 0);
  try_path(d, "../plain", 0);
  try_path(d, "", 0);
  try_path(99, "inside", 0);
  try_path(open("plain", O_RDONLY), "inside", 0);
  snprintf(through, sizeof through, "/proc/self/fd/%d/inside", d);
  printf("through a descriptor: %s\n", get(through));
  int locked = open("closed", O_PATH);
  printf("closed directory: %d\n", openat(locked, "x", O_RDONLY) < 0 ? errno : 0);
  printf("created through a link: %d\n", create("dangling", "made through it\n"));
  printf("exclusively: %d\n", open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0644) < 0 ? errno : 0);
  printf("%s", get("nowhere-yet"));
  for (int fd = 3; fd < 16; fd++)
    close(fd);
  return 0;
}

static void
operation_walks(void)
{
  create("plain", "plain\n");
  mkdir("d", 0755);
  create("d/inside", "inside\n");
  mkdir("closed", 0700);
  create("closed/x", "x\n");
  chmod("closed", 0);
  mkfifo("pipe", 0644);
  make_link("plain", "to-plain");
  make_link("d", "to-d");
  make_link("loop", "loop");
  make_link("nowhere-yet", "dangling");
  make_link("/etc/passwd", "absolute");
  /* Too long from its beginning, and short from number 33: nothing between, since a kernel that begins a walk
     again, because something was renamed meanwhile, goes on counting links, up to three times. */
  for (int i = 0; i < 45; i++) {
    char from[32], to[32];
    snprintf(from, sizeof from, "chain-%d", i);
    snprintf(to, sizeof to, i < 44 ? "chain-%d" : "plain", i + 1);
    make_link(to, from);
  }
  block(walk_about);
  chmod("closed", 0700);
}

/* ---- more changes ---- */

static int
change_more(void)
{
  int bad = 0;
  /* An unnamed file that gets a name. */
  char through[64];
  int fd = open(".", O_TMPFILE | O_WRONLY, 0600);
  if (fd >= 0) {
    bad |= write(fd, "named later\n", 12) != 12;
    snprintf(through, sizeof through, "/proc/self/fd/%d", fd);
    bad |= linkat(AT_FDCWD, through, AT_FDCWD, "unnamed", AT_SYMLINK_FOLLOW);
    close(fd);
  }
  bad |= renameat2(AT_FDCWD, "left", AT_FDCWD, "right", RENAME_EXCHANGE);
  bad |= mkdir("new", 0755) | create("new/a", "a") | rename("new", "newer") | create("newer/b", "b") |
         rename("newer/a", "newer/c");
  bad |= link("old", "old-too") | put("old-too", "by its new name\n", O_APPEND, 0);
  bad |= rename("chain-a", "chain-b") | rename("chain-b", "chain-c") |
         put("chain-c", "moved twice\n", O_APPEND, 0);
  bad |= rename("swap-1", "swap-3") | rename("swap-2", "swap-1") | rename("swap-3", "swap-2");
  bad |= unlink("gone") | create("gone", "another of the same name\n");
  bad |= create("brief", "x") | unlink("brief");
  /* By descriptors that are open for reading. */
  int reading = open("by-descriptor", O_RDONLY);
  struct timespec times[2] = {{1, 2}, {3, 4}};
  bad |= fchmod(reading, 0604) | futimens(reading, times) | fsetxattr(reading, "user.doppel-test", "x", 1, 0);
  close(reading);
  fd = open("sparse", O_CREAT | O_RDWR, 0644);
  bad |= pwrite(fd, "end", 3, 1 << 20) != 3;
  bad |= fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
  close(fd);
  fd = open("sealed", O_RDWR);
  char *bytes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  memcpy(bytes, "MAPPED", 6);
  munmap(bytes, 4096);
  return bad | (rmdir("empty") != 0) | (rmdir("not-empty") == 0) | chdir("sub") |
         create("../from-below", "below") | chdir("..");
}

static void
operation_more(void)
{
  static const char *const files[] = {"left",   "right", "old",           "chain-a", "swap-1",
                                      "swap-2", "gone",  "by-descriptor", "sealed"};
  for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
    create(files[i], files[i]);
  mkdir("empty", 0755);
  mkdir("not-empty", 0755);
  create("not-empty/file", "x");
  mkdir("sub", 0755);
  ino_t left = inode("left"), old = inode("old"), chain = inode("chain-a"), swap = inode("swap-1");
  say_number("block", block(change_more));
  say_number("exchanged", inode("right") == left);
  say_number("linked", inode("old-too") == old && inode("old") == old);
  say_number("moved", inode("chain-c") == chain);
  say_number("swapped", inode("swap-2") == swap);
  say("names", list("."));
  say("old", get("old"));
  say("sealed", get("sealed"));
}

/* ---- many threads ---- */

static void *
work_on_files(void *number)
{
  char directory[64], name[128];
  snprintf(directory, sizeof directory, "thread-%ld", (long)number);
  mkdir(directory, 0755);
  for (int i = 0; i < 50; i++) {
    snprintf(name, sizeof name, "%s/%d", directory, i);
    create(name, name);
    snprintf(name, sizeof name, "/usr/share/doc/nothing-%ld-%d", (long)number, i);
    if (access(name, F_OK) == 0)
      return number;
    snprintf(name, sizeof name, "common/%d", i);
    if (strcmp(get_alone(name), name) != 0)
      return number;
  }
  return NULL;
}

static int
run_threads(void)
{
  pthread_t threads[8];
  long bad = 0;
  void *result;
  for (long i = 0; i < 8; i++)
    bad |= pthread_create(&threads[i], NULL, work_on_files, (void *)(i + 1));
  for (int i = 0; i < 8; i++)
    bad |= pthread_join(threads[i], &result) | (result != NULL);
  return (int)bad;
}

static void
operation_threads(void)
{
  mkdir("common", 0755);
  for (int i = 0; i < 50; i++) {
    char name[64];
    snprintf(name, sizeof name, "common/%d", i);
    create(name, name);
  }
  say_number("block", block(run_threads));
}

/* ---- a socket's name ---- */

static int
make_socket(void)
{
  struct sockaddr_un address = {AF_UNIX, "socket"};
  int before = access("socket", F_OK), fd = socket(AF_UNIX, SOCK_STREAM, 0);
  int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
  printf("before %d, bound %d, again %d\n", before, bound,
         bind(fd, (struct sockaddr *)&address, sizeof address) < 0);
  close(fd);
  const char *is = get("socket");
  int removed = unlink("socket");
  return printf("the name was %s; removed %d; is %s\n", is, removed, get("socket")) < 0;
}

static int
make_socket_elsewhere(void)
{
  struct sockaddr_un address = {AF_UNIX, ""};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);
  if (!getcwd(address.sun_path, sizeof address.sun_path - 8))
    return errno;
  strcat(address.sun_path, "/sock");
  int bound =
      access(address.sun_path, F_OK) | bind(fd, (struct sockaddr *)&address, sizeof address) | listen(fd, 1);
  int connected = connect(other, (struct sockaddr *)&address, sizeof address);
  close(fd);
  close(other);
  return printf("bound %d, connected %d, removed %d", bound, connected, unlink("sock"));
}

static void
operation_socket(void)
{
  say_number("block", block(make_socket));
  say_number("block", block(make_socket_elsewhere));
  say("names", list("."));
}

/* ---- refusals ---- */

static int
hard_links(void)
{
  return put("name-1", "through the other name\n", O_APPEND, 0) | rename("theirs", "ours");
}

static void
operation_links(void)
{
  create("name-1", "linked\n");
  say_number("link", link("name-1", "name-2"));
  mkdir("theirs", 0755);
  create("theirs/file", "x\n");
  say_number("block", block(hard_links));
  say("name-2", get("name-2"));
  say("ours/file", get("ours/file"));
}

/* ---- children ---- */

static int
run_child(void)
{
  static char shell[] = "sh", option[] = "-c";
  static char script[] = "echo from a child > child; cat input >> child; rm input; ./script >> child";
  char *const arguments[] = {shell, option, script, NULL};
  pid_t child = fork();
  if (child == 0) {
    execv("/bin/sh", arguments);
    _exit(127);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

static void
operation_child(void)
{
  create("input", "given to it\n");
  put("script", "#!/bin/sh\necho a script\n", O_CREAT, 0755);
  say_number("block", block(run_child));
  say("child", get("child"));
  say("names", list("."));
}

static const struct {
  const char *name;
  void (*run)(void);
} operations[] = {
    {"changes", operation_changes}, {"between", operation_between},     {"turns", operation_turns},
    {"open", operation_open},       {"temporary", operation_temporary}, {"directory", operation_directory},
    {"big", operation_big},         {"mapped", operation_mapped},       {"conflict", operation_conflict},
    {"full", operation_full},       {"mounts", operation_mounts},       {"links", operation_links},
    {"child", operation_child},     {"again", operation_again},         {"walks", operation_walks},
    {"more", operation_more},       {"threads", operation_threads},     {"socket", operation_socket},
};

int
main(int count, char **arguments)
{
  setvbuf(stdout, NULL, _IOLBF, 0);
  umask(022);
  for (unsigned i = 0; count == 3 && i < sizeof operations / sizeof *operations; i++)
    if (strcmp(arguments[1], operations[i].name) == 0 && chdir(arguments[2]) == 0) {
      operations[i].run();
      return 0;
    }
  fprintf(stderr, "subject OPERATION DIRECTORY\n");
  return 2;
}
