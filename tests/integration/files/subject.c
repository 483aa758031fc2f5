/* Programs in one: `subject OPERATION DIRECTORY`. Everything that is to be off-loaded happens in block();
 * what is before, between and after is the device's. Says on stdout what it saw; the test compares that, and
 * DIRECTORY, with a run without doppel. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
  char *const arguments[] = {
      "sh", "-c", "echo from a child > child; cat input >> child; rm input; ./script >> child", NULL};
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
    {"child", operation_child},     {"again", operation_again},
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
