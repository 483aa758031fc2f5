/* Files: opened before or inside the block, written, renamed, removed, locked, listed, temporary. */
#include "program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int kept = -1;
static FILE *stream;
static DIR *folder;

static void
put(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  (void)!write(fd, text, strlen(text));
  close(fd);
}

static void
show(const char *path)
{
  char text[256] = {0};
  int fd = open(path, O_RDONLY);
  if (fd < 0) {
    printf("%s: %s\n", path, strerror(errno));
    return;
  }
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  printf("%s (%zd): %s\n", path, length, text);
}

static void
change_before(void)
{
  put("old", "from the device");
  put("doomed", "to be removed");
  put("target", "to be replaced");
}

static void
change_inside(int round)
{
  char name[32];
  snprintf(name, sizeof name, "new-%d", round);
  put(name, "made in the block");
  show("old");
  rename("old", "older");
  rename("older", "old");
  unlink("doomed");
  show("doomed");
  put("fresh", "replacement");
  rename("fresh", "target");
  show("target");
  put("doomed", "made again");
  unlink("doomed");
}

static void
change_after(void)
{
  show("new-0");
  show("old");
  show("doomed");
  show("target");
}

/* The offset and the flags of a descriptor are part of the state, on both sides of the block. */
static void
offset_before(void)
{
  put("lines", "one\ntwo\nthree\nfour\nfive\nsix\nseven\n");
  kept = open("lines", O_RDWR);
  char word[5] = {0};
  (void)!read(kept, word, 4);
  printf("before: %s", word);
}

static void
offset_inside(int round)
{
  char word[7] = {0};
  (void)!read(kept, word, 6);
  printf("round %d at %ld: %.6s|\n", round, (long)lseek(kept, 0, SEEK_CUR), word);
  fcntl(kept, F_SETFL, O_APPEND);
  fcntl(kept, F_SETFD, FD_CLOEXEC);
}

static void
offset_after(void)
{
  printf("at %ld, append %d, close-on-exec %d\n", (long)lseek(kept, 0, SEEK_CUR),
         !!(fcntl(kept, F_GETFL) & O_APPEND), fcntl(kept, F_GETFD));
  (void)!write(kept, "eight\n", 6);
  show("lines");
}

static void
open_inside(int round)
{
  if (round == 0) {
    kept = open("log", O_RDWR | O_CREAT | O_APPEND, 0640);
    dup2(kept, 40);
  }
  dprintf(kept, "round %d\n", round);
}

static void
open_after(void)
{
  dprintf(40, "after\n");
  struct stat info;
  fstat(kept, &info);
  printf("size %ld, mode %o, same file %d\n", (long)info.st_size, info.st_mode & 07777,
         fcntl(40, F_GETFD) >= 0);
  show("log");
}

static void
stdio_before(void)
{
  stream = fopen("story", "w+");
  fprintf(stream, "unwritten, ");
}

static void
stdio_inside(int round)
{
  fprintf(stream, "round %d, ", round);
}

static void
stdio_after(void)
{
  fprintf(stream, "the end\n");
  rewind(stream);
  char line[200];
  printf("%s", fgets(line, sizeof line, stream));
  fclose(stream);
}

static void
folders_inside(int round)
{
  if (round == 0) {
    mkdir("tree", 0755);
    mkdir("tree/branch", 0700);
    put("tree/branch/leaf", "green");
    symlink("branch/leaf", "tree/pointer");
    symlink("nowhere", "tree/dangling");
    link("tree/branch/leaf", "tree/second");
    chmod("tree/branch/leaf", 0600);
    mkfifo("tree/fifo", 0600);
  } else {
    rename("tree/branch", "tree/bough");
    rmdir("tree/bough"); /* not empty */
    show("tree/pointer");
    unlink("tree/pointer");
    symlink("bough/leaf", "tree/pointer");
    truncate("tree/second", 3);
  }
  char target[64] = {0};
  (void)!readlink("tree/pointer", target, sizeof target - 1);
  printf("pointer -> %s\n", target);
}

static void
folders_after(void)
{
  show("tree/pointer");
  struct stat info;
  stat("tree/second", &info);
  printf("links %ld, size %ld\n", (long)info.st_nlink, (long)info.st_size);
}

static int
by_name(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
list(const char *path)
{
  char *names[200];
  int count = 0;
  DIR *at = opendir(path);
  for (struct dirent *each; at && (each = readdir(at)) && count < 200;)
    names[count++] = strdup(each->d_name);
  closedir(at);
  qsort(names, count, sizeof *names, by_name);
  for (int i = 0; i < count; i++) {
    printf("%s ", names[i]);
    free(names[i]);
  }
  printf("\n");
}

static void
list_before(void)
{
  mkdir("shelf", 0755);
  for (int i = 0; i < 40; i++) {
    char name[32];
    snprintf(name, sizeof name, "shelf/book-%02d", i);
    put(name, "x");
  }
  folder = opendir("shelf");
  for (int i = 0; i < 5; i++)
    readdir(folder);
}

static void
list_inside(int round)
{
  list("shelf");
  unlink(round ? "shelf/book-07" : "shelf/book-03");
  put("shelf/added", "y");
  list("shelf");
}

static void
list_after(void)
{
  int more = 0;
  while (readdir(folder))
    more++;
  check("an open listing goes on", more > 30 && more < 45);
  closedir(folder);
  list("shelf");
}

static void
temporary_inside(int round)
{
  char name[] = "scratch-XXXXXX";
  int fd = mkstemp(name);
  unlink(name);
  (void)!write(fd, "unseen", 6);
  char back[7] = {0};
  (void)!pread(fd, back, 6, 0);
  close(fd);
  FILE *file = tmpfile();
  fprintf(file, "line %d\n", round);
  rewind(file);
  char line[32];
  printf("%s, %s", back, fgets(line, sizeof line, file));
  fclose(file);
}

/* Nameless files that live on: only the descriptor holds them. */
static void
nameless_before(void)
{
  kept = open("vanishing", O_RDWR | O_CREAT, 0600);
  unlink("vanishing");
  (void)!write(kept, "still here", 10);
}

static void
nameless_inside(int round)
{
  char text[64] = {0};
  (void)!pread(kept, text, sizeof text - 1, 0);
  printf("%s\n", text);
  int length = snprintf(text, sizeof text, "changed in round %d", round);
  (void)!pwrite(kept, text, length, 0);
  if (round == 0) {
    stream = tmpfile();
    fprintf(stream, "kept open\n");
    fflush(stream);
  }
}

static void
nameless_after(void)
{
  char text[64] = {0};
  (void)!pread(kept, text, sizeof text - 1, 0);
  printf("%s\n", text);
  rewind(stream);
  printf("%s", fgets(text, sizeof text, stream));
}

static void
append_inside(int round)
{
  int fd = open("large", O_WRONLY | O_CREAT | O_APPEND, 0644);
  char *data = malloc(1 << 20);
  memset(data, 'a' + round, 1 << 20);
  for (int i = 0; i < 8; i++)
    (void)!write(fd, data, 1 << 20);
  struct iovec parts[2] = {{"tail ", 5}, {"piece\n", 6}};
  (void)!writev(fd, parts, 2);
  close(fd);
  free(data);
}

static void
sparse_inside(int round)
{
  int fd = open("sparse", O_RDWR | O_CREAT, 0644);
  (void)!pwrite(fd, "far", 3, (64l << 20) + round);
  (void)!ftruncate(fd, 65l << 20);
  if (round)
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 64l << 20, 1);
  close(fd);
}

static void
locks_before(void)
{
  put("locked", "0123456789");
  kept = open("locked", O_RDWR);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 4};
  printf("lock before: %d\n", fcntl(kept, F_SETLK, &lock));
}

static void
locks_inside(int round)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 4, .l_len = 4};
  printf("lock: %d\n", fcntl(kept, F_SETLK, &lock));
  (void)!pwrite(kept, "x", 1, 4 + round);
  lock.l_type = F_UNLCK;
  printf("unlock: %d\n", fcntl(kept, F_SETLK, &lock));
  int other = open("locked", O_RDONLY);
  printf("flock: %d\n", flock(other, LOCK_EX | LOCK_NB));
  close(other);
}

static void
place_before(void)
{
  mkdir("elsewhere", 0755);
  put("elsewhere/here", "in elsewhere");
  put("here", "at the start");
}

static void
place_inside(int round)
{
  show("here");
  if (round == 0) {
    (void)!chdir("elsewhere");
    printf("umask %o\n", umask(077));
  }
  show("here");
}

static void
place_after(void)
{
  char *path = getcwd(NULL, 0);
  printf("in %s\n", strrchr(path, '/'));
  free(path);
  put("private", "mode 600");
  struct stat info;
  stat("private", &info);
  printf("mode %o\n", info.st_mode & 0777);
}

static void
times_inside(int round)
{
  put("dated", "x");
  struct timespec when[2] = {{1000000000 + round, 5}, {1234567890, 987654321}};
  utimensat(AT_FDCWD, "dated", when, 0);
}

static void
times_after(void)
{
  struct stat info;
  stat("dated", &info);
  printf("%ld.%09ld\n", (long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

static void
said(const char *what, long result)
{
  printf("%s: %ld %s\n", what, result, strerror(errno));
}

static void
errors_inside(int round)
{
  const char *const paths[] = {"none", "none/below", "here/notdir", "/proc/self/none", ""};
  put("here", "a file");
  for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
    int fd = open(paths[i], O_RDONLY);
    printf("open %s: %s\n", paths[i], fd < 0 ? strerror(errno) : "opened");
  }
  said("excl", open("here", O_CREAT | O_EXCL, 0600));
  said("mkdir", mkdir("here", 0700));
  said("close", close(99));
  said("link", link("none", "else"));
  char byte;
  said("read of a closed one", read(98, &byte, 1));
}

static void
devices_inside(int round)
{
  unsigned char bytes[16] = {1, 2, 3};
  int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY),
      random = open("/dev/urandom", O_RDONLY);
  check("null", write(null, "x", 1) == 1 && read(null, bytes, 1) == 0);
  check("zero", read(zero, bytes, 16) == 16 && bytes[0] == 0);
  check("urandom", read(random, bytes, 16) == 16);
  close(null);
  close(zero);
  close(random);
}

/* Who a file is does not depend on where the program looks. */
static struct stat first, second, made;

static bool
is_same(const char *path, const struct stat *expected)
{
  struct stat now = {0};
  return lstat(path, &now) == 0 && now.st_dev == expected->st_dev && now.st_ino == expected->st_ino;
}

static bool
is_same_open(int fd, const struct stat *expected)
{
  struct stat now = {0};
  return fstat(fd, &now) == 0 && now.st_dev == expected->st_dev && now.st_ino == expected->st_ino;
}

static void
numbers_before(void)
{
  put("first", "of the device");
  put("second", "of the device, too");
  stat("first", &first);
  stat("second", &second);
  kept = open("first", O_RDONLY);
}

static void
numbers_inside(int round)
{
  check("found again", is_same("first", &first) && is_same("second", &second) && is_same_open(kept, &first));
  int fd = open("second", O_WRONLY | O_APPEND);
  check("open", is_same_open(fd, &second));
  (void)!write(fd, ", and longer", 12);
  check("written", is_same_open(fd, &second) && is_same("second", &second));
  close(fd);
  put("first", "changed in the block");
  check("emptied and written", is_same("first", &first) && is_same_open(kept, &first));
  rename("second", "renamed");
  check("renamed", is_same("renamed", &second));
  rename("renamed", "second");
  check("renamed back", is_same("second", &second));
  if (round == 0) {
    struct stat here;
    put("made", "in the block");
    stat("made", &made);
    stat(".", &here);
    check("made", made.st_dev == here.st_dev && made.st_ino != first.st_ino && made.st_ino != second.st_ino);
    rename("made", "then");
    link("then", "made");
    check("linked", is_same("made", &made) && is_same("then", &made));
    put("other", "in the block");
    check("another", !is_same("other", &made));
  }
  check("made and found again", is_same("made", &made) && is_same("then", &made));
}

static void
numbers_after(void)
{
  check("back home", is_same("first", &first) && is_same("second", &second) && is_same_open(kept, &first));
}

/* A file is open for writing while a block only computes; the program writes to it afterwards, and removes
 * another. */
static unsigned long computed;

static void
silent_before(void)
{
  put("written", "from the device");
  put("removed", "from the device");
  kept = open("written", O_RDWR);
}

static void
silent_inside(int round)
{
  if (round == 0) {
    computed = churn(3, 20000);
    return;
  }
  show("written");
  show("removed");
  put("removed", "made again");
}

static void
silent_drive(int rounds)
{
  for (int round = 0; round < rounds; round++) {
    char text[64];
    block(round);
    int length = snprintf(text, sizeof text, "written on the device after round %d, %lx", round, computed);
    check("write", pwrite(kept, text, length, 0) == length);
    unlink("removed");
  }
}

static void
silent_after(void)
{
  show("written");
  show("removed");
}

const Case cases[] = {{"change", change_before, change_inside, change_after, NULL},
                      {"offset", offset_before, offset_inside, offset_after, NULL},
                      {"open-inside", NULL, open_inside, open_after, NULL},
                      {"stdio", stdio_before, stdio_inside, stdio_after, NULL},
                      {"folders", NULL, folders_inside, folders_after, NULL},
                      {"list", list_before, list_inside, list_after, NULL},
                      {"temporary", NULL, temporary_inside, NULL, NULL},
                      {"nameless", nameless_before, nameless_inside, nameless_after, NULL},
                      {"append", NULL, append_inside, NULL, NULL},
                      {"sparse", NULL, sparse_inside, NULL, NULL},
                      {"locks", locks_before, locks_inside, NULL, NULL},
                      {"place", place_before, place_inside, place_after, NULL},
                      {"times", NULL, times_inside, times_after, NULL},
                      {"errors", NULL, errors_inside, NULL, NULL},
                      {"devices", NULL, devices_inside, NULL, NULL},
                      {"numbers", numbers_before, numbers_inside, numbers_after, NULL},
                      {"silent", silent_before, silent_inside, silent_after, silent_drive},
                      {NULL}};
