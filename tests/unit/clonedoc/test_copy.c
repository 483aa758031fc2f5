/* A device's copy of a document (clonedoc/device/copy.h): several programs at it, one of which talks with the
 * clone, and all of which may end at any time. */
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "clonedoc/device/copy.h"
#include "clonedoc/device/line.h"
#include "pair_end.h"
#include "random_op.h"
#include "wire/message.h"

#define WORDS "The quick brown fox\n"

static char *
folder_new(void)
{
  g_autoptr(GError) error = NULL;
  char *folder = g_dir_make_tmp("doppel-copy-XXXXXX", &error);
  g_assert_no_error(error);
  return folder;
}

static void
folder_remove(const char *folder)
{
  g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
  for (const char *name; (name = g_dir_read_name(dir));) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_assert_cmpint(g_unlink(path), ==, 0);
  }
  g_assert_cmpint(g_rmdir(folder), ==, 0);
}

static DocCopies *
open_copies(const char *folder)
{
  g_autoptr(GError) error = NULL;
  DocCopies *copies = doc_copies_open(folder, &error);
  g_assert_no_error(error);
  return copies;
}

static DocName
name_of(guint8 number)
{
  DocName name;
  memset(name.bytes, number, sizeof name.bytes);
  return name;
}

static DocKnown *
known_of(guint8 number, const char *title)
{
  DocKnown *known = g_new0(DocKnown, 1);
  known->document = name_of(number);
  known->title = g_strdup(title);
  known->row = g_bytes_new(title, strlen(title));
  return known;
}

static void
know(DocCopies *copies, guint8 number, const char *title)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DocKnown) known = known_of(number, title);
  doc_copies_add(copies, known, &error);
  g_assert_no_error(error);
}

static DocCopy *
open_copy(DocCopies *copies, guint8 number)
{
  g_autoptr(GError) error = NULL;
  DocName name = name_of(number);
  DocCopy *copy = doc_copy_open(copies, &name, &error);
  g_assert_no_error(error);
  return copy;
}

static void
check_text(DocCopy *copy, const char *wanted)
{
  g_autoptr(GError) error = NULL;
  doc_copy_refresh(copy, NULL, &error);
  g_assert_no_error(error);
  const OtText *text = doc_copy_text(copy);
  g_autofree char *found = ot_text_copy(text, 0, ot_text_length(text), NULL);
  g_assert_cmpstr(found, ==, wanted);
}

static void
type(DocCopy *copy, gsize at, gsize deleted, const char *utf8)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(OtOp) op = ot_op_new_edit(at, deleted, utf8, strlen(utf8));
  doc_copy_edit(copy, op, NULL, &error);
  g_assert_no_error(error);
}

/* The keeper talks with the clone until neither has anything to say; `cut` (< 0: never): after so many
 * messages the link is no more. */
static void
meet(DocCopy *copy, PairEnd *clone, int cut)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) in = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  doc_copy_keep(copy, &error);
  g_assert_no_error(error);
  doc_pair_begin(clone->pair);
  for (gboolean said = TRUE; said;) {
    g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    g_autoptr(OtOp) shown = NULL;
    doc_copy_step(copy, in, out, &shown, &error);
    g_assert_no_error(error);
    g_ptr_array_set_size(in, 0);
    for (guint i = 0; i < out->len; i++) {
      if (cut-- == 0)
        return;
      g_assert_true(pair_end_hear(clone, out->pdata[i], &error));
    }
    for (GBytes *next; (next = doc_pair_next(clone->pair));)
      g_ptr_array_add(in, next);
    said = in->len > 0;
    if (said && cut-- == 0)
      return;
  }
}

static void
check_settled(DocCopy *copy, gboolean wanted)
{
  g_autoptr(GError) error = NULL;
  gboolean settled;
  doc_copy_is_settled(copy, &settled, &error);
  g_assert_no_error(error);
  g_assert_cmpint(settled, ==, wanted);
}

/* As another program of the device has it. */
static void
check_begun(DocCopy *copy, gboolean wanted)
{
  g_autoptr(GError) error = NULL;
  guint8 id[DOC_COPY_LENGTH];
  gboolean begun;
  doc_copy_refresh(copy, NULL, &error);
  g_assert_no_error(error);
  doc_copy_id(copy, id, &begun);
  g_assert_cmpint(begun, ==, wanted);
}

static void
test_known(void)
{
  g_autofree char *folder = folder_new();
  g_autoptr(GError) error = NULL;
  {
    g_autoptr(DocCopies) copies = open_copies(folder);
    know(copies, 2, "b");
    know(copies, 1, "a");
    know(copies, 3, "c");
    g_autoptr(DocCopy) typed = open_copy(copies, 3);
    type(typed, 0, 0, WORDS);
    g_autoptr(DocKnown) again = known_of(1, "renamed");
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    g_ptr_array_add(all, again);
    doc_copies_know(copies, all, &error);
    g_assert_no_error(error);
  }
  g_autoptr(DocCopies) copies = open_copies(folder);
  g_autoptr(GPtrArray) list = doc_copies_list(copies, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(list->len, ==, 2); /* what was typed is not lost because the clone does not name it */
  g_assert_cmpstr(((DocKnown *)list->pdata[0])->title, ==, "c");
  g_assert_cmpstr(((DocKnown *)list->pdata[1])->title, ==, "renamed");
  DocName name = name_of(2);
  g_assert_null(doc_copy_open(copies, &name, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND);
  g_clear_pointer(&copies, doc_copies_free);
  folder_remove(folder);
}

/* What two programs do at once, both see, without a keeper. */
static void
test_programs(void)
{
  g_autofree char *folder = folder_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(DocCopies) copies = open_copies(folder), others = open_copies(folder);
  know(copies, 1, "a");
  g_autoptr(DocCopy) one = open_copy(copies, 1), other = open_copy(others, 1);
  type(one, 0, 0, WORDS);
  g_autoptr(OtOp) op = ot_op_new_edit(0, 0, "- ", 2);
  g_autoptr(OtOp) meanwhile = NULL;
  doc_copy_edit(other, op, &meanwhile, &error);
  g_assert_no_error(error);
  check_text(other, WORDS "- ");
  g_assert_nonnull(meanwhile);
  g_autoptr(OtText) shown = ot_text_new();
  g_assert_true(ot_op_apply(op, shown, &error) && ot_op_apply(meanwhile, shown, &error));
  g_assert_true(ot_text_equal(shown, doc_copy_text(other)));
  check_text(one, WORDS "- ");
  g_autoptr(OtOp) beyond = ot_op_new_edit(1000, 0, "x", 1);
  g_assert_false(doc_copy_edit(one, beyond, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  check_text(one, WORDS "- ");
  g_clear_pointer(&one, doc_copy_free);
  g_clear_pointer(&other, doc_copy_free);
  g_clear_pointer(&copies, doc_copies_free);
  g_clear_pointer(&others, doc_copies_free);
  folder_remove(folder);
}

/* One keeps it in step; the other's edits go with it, and there is no second keeper meanwhile. */
static void
test_keeper(void)
{
  g_autofree char *folder = folder_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(DocCopies) copies = open_copies(folder), others = open_copies(folder);
  g_auto(PairEnd) clone = {0};
  pair_end_init(&clone, DOC_PAIR_CLONE);
  pair_end_type(&clone, 0, 0, WORDS);
  know(copies, 1, "a");
  g_autoptr(DocCopy) one = open_copy(copies, 1), other = open_copy(others, 1);
  meet(one, &clone, -1);
  check_text(other, WORDS);
  g_assert_false(doc_copy_keep(other, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_ABORTED);
  g_clear_error(&error);
  type(other, 0, 0, "> ");
  check_settled(other, FALSE);
  meet(one, &clone, -1);
  check_settled(other, TRUE);
  g_autofree char *text = pair_end_text(&clone);
  g_assert_cmpstr(text, ==, "> " WORDS);
  doc_copy_let_go(one);
  g_assert_true(doc_copy_keep(other, &error));
  g_clear_pointer(&one, doc_copy_free);
  g_clear_pointer(&other, doc_copy_free);
  g_clear_pointer(&copies, doc_copies_free);
  g_clear_pointer(&others, doc_copies_free);
  folder_remove(folder);
}

/* Until the clone has answered, what was said over an earlier link is about another copy. */
static void
test_id(void)
{
  guint8 ids[4][DOC_COPY_LENGTH];
  gboolean begun;
  g_autofree char *folder = folder_new();
  g_autoptr(DocCopies) copies = open_copies(folder);
  g_auto(PairEnd) clone = {0};
  pair_end_init(&clone, DOC_PAIR_CLONE);
  know(copies, 1, "a");
  g_autoptr(DocCopy) copy = open_copy(copies, 1);
  for (guint i = 0; i < G_N_ELEMENTS(ids); i++) {
    g_assert_true(doc_copy_keep(copy, NULL));
    doc_copy_id(copy, ids[i], &begun);
    doc_copy_let_go(copy);
    if (i == 1)
      meet(copy, &clone, -1);
  }
  g_assert_cmpmem(ids[2], sizeof ids[2], ids[3], sizeof ids[3]);
  g_assert_cmpint(memcmp(ids[0], ids[1], sizeof ids[0]), !=, 0);
  g_clear_pointer(&copy, doc_copy_free);
  g_clear_pointer(&copies, doc_copies_free);
  folder_remove(folder);
}

/* Two programs and the clone type, links are cut anywhere, programs end and begin anew: all have the same. */
static void
test_random(void)
{
  g_autofree char *folder = folder_new();
  guint32 seed = g_random_int();
  g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
  g_test_message("seed %u", seed);
  DocCopies *copies[2] = {open_copies(folder), open_copies(folder)};
  know(copies[0], 1, "a");
  DocCopy *programs[2] = {open_copy(copies[0], 1), open_copy(copies[1], 1)};
  g_auto(PairEnd) clone = {0};
  pair_end_init(&clone, DOC_PAIR_CLONE);
  for (guint round = 0; round < 100; round++) {
    g_autoptr(GError) error = NULL;
    guint who = g_rand_int_range(rand, 0, 2);
    g_autoptr(OtOp) op = ot_random_op(rand, ot_text_length(doc_copy_text(programs[who])), 3);
    doc_copy_edit(programs[who], op, NULL, &error);
    g_assert_no_error(error);
    gsize bytes;
    g_autofree char *typed = ot_random_string(rand, 2, &bytes);
    gsize length = ot_text_length(clone.text), deleted = length > 30 ? length / 2 : 0;
    pair_end_type(&clone, g_rand_int_range(rand, 0, length - deleted + 1), deleted, typed);
    who = g_rand_int_range(rand, 0, 2);
    doc_copy_let_go(programs[!who]);
    meet(programs[who], &clone, g_rand_int_range(rand, -1, 6));
    if (g_rand_int_range(rand, 0, 5) == 0) {
      doc_copy_free(programs[who]);
      programs[who] = open_copy(copies[who], 1);
    }
  }
  doc_copy_let_go(programs[0]);
  meet(programs[1], &clone, -1);
  g_autofree char *text = pair_end_text(&clone);
  for (guint i = 0; i < 2; i++) {
    check_text(programs[i], text);
    check_settled(programs[i], TRUE);
    doc_copy_free(programs[i]);
    doc_copies_free(copies[i]);
  }
  folder_remove(folder);
}

/* A long text, changed often: what it takes on the disk does not grow with the changes, and who has not
 * looked for long sees all of it. */
static void
test_long(void)
{
  g_autofree char *folder = folder_new();
  g_autoptr(GError) error = NULL;
  g_autoptr(DocCopies) copies = open_copies(folder), others = open_copies(folder);
  g_auto(PairEnd) clone = {0};
  pair_end_init(&clone, DOC_PAIR_CLONE);
  know(copies, 1, "a");
  g_autoptr(DocCopy) one = open_copy(copies, 1), other = open_copy(others, 1);
  g_autofree char *lines = g_strnfill(100000, 'x');
  for (guint i = 0; i < 8; i++) {
    type(one, 0, 0, lines);
    meet(one, &clone, -1);
    type(one, 0, 99999, "");
  }
  meet(one, &clone, -1);
  g_autoptr(OtOp) shown = NULL;
  doc_copy_refresh(other, &shown, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(ot_op_inserted(shown), ==, 8);
  check_text(other, "xxxxxxxx");
  g_autofree char *text = pair_end_text(&clone);
  g_assert_cmpstr(text, ==, "xxxxxxxx");
  g_clear_pointer(&one, doc_copy_free);
  g_clear_pointer(&other, doc_copy_free);
  g_clear_pointer(&copies, doc_copies_free);
  g_clear_pointer(&others, doc_copies_free);
  folder_remove(folder);
}

/* The clone lost what it had: what it may not know is given back. */
static void
test_anew(void)
{
  g_autofree char *folder = folder_new(), *lost = NULL;
  g_autoptr(GError) error = NULL;
  g_autoptr(DocCopies) copies = open_copies(folder);
  know(copies, 1, "a");
  g_autoptr(DocCopy) copy = open_copy(copies, 1);
  {
    g_auto(PairEnd) clone = {0};
    pair_end_init(&clone, DOC_PAIR_CLONE);
    pair_end_type(&clone, 0, 0, WORDS);
    meet(copy, &clone, 1); /* as far as the clone's hello, which is not taken */
    check_begun(copy, FALSE);
    meet(copy, &clone, -1);
    check_begun(copy, TRUE);
  }
  type(copy, 0, 0, "> ");
  g_assert_true(doc_copy_keep(copy, &error));
  g_assert_true(doc_copy_anew(copy, &lost, &error));
  g_assert_cmpstr(lost, ==, "> " WORDS);
  check_begun(copy, FALSE);
  g_auto(PairEnd) clone = {0};
  pair_end_init(&clone, DOC_PAIR_CLONE);
  pair_end_type(&clone, 0, 0, WORDS "again");
  meet(copy, &clone, -1);
  check_text(copy, WORDS "again");
  g_clear_pointer(&copy, doc_copy_free);
  g_clear_pointer(&copies, doc_copies_free);
  folder_remove(folder);
}

/* ---- over a line ---- */

static void
tell(int fd, DocRoomAnswer *answer, Doppel__Room__Answer__WhatCase what)
{
  answer->what_case = what;
  g_assert_true(wire_stream_send(fd, &answer->base, NULL));
}

static void
tell_row(int fd, Doppel__Room__State state)
{
  const DocName name = name_of(1);
  char *addresses[] = {(char *)"127.0.0.1:1"};
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  Doppel__Room__Row row = DOPPEL__ROOM__ROW__INIT;
  row.document = wire_borrow(name.bytes, sizeof name.bytes);
  row.title = (char *)"a";
  row.addresses = addresses;
  row.n_addresses = G_N_ELEMENTS(addresses);
  row.server = row.document; /* a key is as long */
  row.role = DOPPEL__ROOM__ROLE__WRITER;
  row.state = state;
  answer.row = &row;
  tell(fd, &answer, DOC_ROOM_TELL(ROW));
}

/* The clone's end of it: takes what has come. */
static void
hear_line(int fd, GByteArray *in, PairEnd *clone)
{
  guint8 buffer[4096];
  for (gssize got; (got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0;)
    g_byte_array_append(in, buffer, (guint)got);
  for (GBytes *frame; wire_stream_take(in, DOC_ROOM_FRAME_MAX, &frame, NULL) > 0; g_bytes_unref(frame)) {
    gsize length;
    const void *data = g_bytes_get_data(frame, &length);
    g_autoptr(DocRoomQuestion) question = doc_room_question_take(data, length, NULL);
    g_assert_nonnull(question);
    if (question->what_case == DOC_ROOM_ASK(OPEN)) {
      doc_pair_begin(clone->pair);
      tell_row(fd, DOPPEL__ROOM__STATE__JOINING);
      continue;
    }
    g_assert_cmpint(question->what_case, ==, DOC_ROOM_ASK(PAIR));
    g_autoptr(GBytes) said = g_bytes_new(question->pair.data, question->pair.len);
    g_assert_true(pair_end_hear(clone, said, NULL));
  }
}

/* Says what there is to be said. */
static void
say_line(int fd, PairEnd *clone)
{
  for (GBytes *next; (next = doc_pair_next(clone->pair)); g_bytes_unref(next)) {
    DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
    answer.pair = wire_borrow_bytes(next);
    tell(fd, &answer, DOC_ROOM_TELL(PAIR));
  }
}

static void
say_all_said(int fd, gboolean whole)
{
  DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
  answer.said = whole;
  tell(fd, &answer, DOC_ROOM_TELL(SAID));
}

static DocLine *
line_new(DocCopy *copy, int *clone)
{
  int ends[2];
  g_autoptr(GError) error = NULL;
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  DocLine *line = doc_line_new(copy, ends[0], &error);
  g_assert_no_error(error);
  *clone = ends[1];
  return line;
}

static void
work_line(DocLine *line)
{
  g_autoptr(OtOp) shown = NULL;
  g_autoptr(GError) error = NULL;
  doc_line_work(line, &shown, &error);
  g_assert_no_error(error);
}

/* Both, until neither has more to say. */
static void
talk_line(DocLine *line, int fd, GByteArray *in, PairEnd *clone)
{
  for (guint i = 0; i < 10; i++) {
    work_line(line);
    hear_line(fd, in, clone);
    say_line(fd, clone);
  }
}

/* Who has read the text once has it, also when the clone is away, though nobody has changed anything. */
static void
test_filled(void)
{
  g_autofree char *folder = folder_new();
  g_autoptr(DocCopies) copies = open_copies(folder), others = open_copies(folder);
  g_autoptr(GByteArray) in = g_byte_array_new();
  g_auto(PairEnd) clone = {0};
  g_auto(Fd) fd = -1;
  pair_end_init(&clone, DOC_PAIR_CLONE);
  pair_end_type(&clone, 0, 0, WORDS);
  know(copies, 1, "a");
  g_autoptr(DocCopy) copy = open_copy(copies, 1);
  g_autoptr(DocLine) line = line_new(copy, &fd);
  talk_line(line, fd, in, &clone);
  check_text(copy, WORDS);
  g_assert_false(doc_copy_is_filled(copy) || doc_line_is_current(line));
  say_all_said(fd, FALSE);
  work_line(line);
  /* All of a history that is being read is nothing of the text yet. */
  g_assert_true(!doc_copy_is_filled(copy) && doc_line_is_current(line));
  tell_row(fd, DOPPEL__ROOM__STATE__JOINED);
  work_line(line);
  g_assert_false(doc_copy_is_filled(copy)); /* that it was read does not say that it is here */
  say_all_said(fd, TRUE);
  work_line(line);
  g_assert_true(doc_copy_is_filled(copy) && doc_line_is_current(line));
  g_clear_pointer(&line, doc_line_free);
  g_autoptr(DocCopy) other = open_copy(others, 1);
  g_assert_true(doc_copy_is_filled(other));
  g_clear_pointer(&copy, doc_copy_free);
  g_clear_pointer(&other, doc_copy_free);
  g_clear_pointer(&copies, doc_copies_free);
  g_clear_pointer(&others, doc_copies_free);
  folder_remove(folder);
}

/* A text that is as long as it was may be another one: who asks waits until all of it was said. */
static void
test_current(void)
{
  g_autofree char *folder = folder_new();
  g_autoptr(DocCopies) copies = open_copies(folder);
  g_autoptr(GByteArray) in = g_byte_array_new();
  g_auto(PairEnd) clone = {0};
  pair_end_init(&clone, DOC_PAIR_CLONE);
  pair_end_type(&clone, 0, 0, "before");
  know(copies, 1, "a");
  g_autoptr(DocCopy) copy = open_copy(copies, 1);
  for (guint round = 0; round < 2; round++) {
    g_auto(Fd) fd = -1;
    g_autoptr(DocLine) line = line_new(copy, &fd);
    work_line(line);
    hear_line(fd, in, &clone);
    g_autoptr(GBytes) hello = doc_pair_next(clone.pair);
    DocRoomAnswer answer = DOPPEL__ROOM__ANSWER__INIT;
    answer.pair = wire_borrow_bytes(hello);
    tell(fd, &answer, DOC_ROOM_TELL(PAIR));
    work_line(line);
    g_assert_false(doc_line_is_current(line));
    hear_line(fd, in, &clone);
    say_line(fd, &clone);
    say_all_said(fd, TRUE);
    work_line(line);
    g_assert_true(doc_line_is_current(line));
    check_text(copy, round == 0 ? "before" : "behind");
    hear_line(fd, in, &clone);
    pair_end_type(&clone, 2, 4, "hind");
    g_byte_array_set_size(in, 0);
  }
  g_clear_pointer(&copy, doc_copy_free);
  g_clear_pointer(&copies, doc_copies_free);
  folder_remove(folder);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/clonedoc/copy/known", test_known);
  g_test_add_func("/clonedoc/copy/programs", test_programs);
  g_test_add_func("/clonedoc/copy/keeper", test_keeper);
  g_test_add_func("/clonedoc/copy/id", test_id);
  g_test_add_func("/clonedoc/copy/random", test_random);
  g_test_add_func("/clonedoc/copy/long", test_long);
  g_test_add_func("/clonedoc/copy/anew", test_anew);
  g_test_add_func("/clonedoc/copy/filled", test_filled);
  g_test_add_func("/clonedoc/copy/current", test_current);
  return g_test_run();
}
