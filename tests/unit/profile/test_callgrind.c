#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "profile/callgrind.h"
#include "rig.h"

/* The files of these profiles: two, by whose functions are told here. */
static ProfileFile *
declared(const char *path, GError **error)
{
  gboolean program = g_str_equal(path, "/opt/app");
  if (!program && !g_str_equal(path, "/lib/libx.so")) {
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "%s is not there", path);
    return NULL;
  }
  ProfileFile *file = profile_file_new(profile_object_copy(
      &(ProfileObject){.path = (char *)path, .build_id = (char *)(program ? "aa" : "bb")}));
  static const char *const names[] = {"main", "work", "step", "tail", "rest"};
  for (guint i = 0; program && i < G_N_ELEMENTS(names); i++)
    profile_file_add(file, 0x1000 + i * 0x100, 0x80, 0x1000 + i * 0x100, names[i]);
  if (!program)
    profile_file_add(file, 0x500, 0x100, 0x500, "helper");
  return file;
}

#define HEADER                                                                                               \
  "# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\npid: 7\ncmd:  ./app\npart: 1\n\n"              \
  "desc: Trigger: Program termination\n\npositions: instr\nevents: Ir\nsummary: 99\n\n"

/* In pieces of so many bytes. */
static ProfileGraph *
read_pieces(const char *text, gsize piece, GError **error)
{
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(declared, "test");
  for (gsize at = 0, length = strlen(text); at < length; at += piece)
    if (!profile_callgrind_feed(callgrind, text + at, MIN(piece, length - at), error))
      return NULL;
  return profile_callgrind_end(callgrind, error);
}

static ProfileGraph *
read_text(const char *text)
{
  g_autoptr(GError) error = NULL;
  ProfileGraph *graph = read_pieces(text, strlen(text), &error);
  g_assert_no_error(error);
  g_assert_nonnull(graph);
  return graph;
}

/* The "Extended Example" of callgrind's manual. */
static void
test_manual(void)
{
  g_autoptr(ProfileGraph) graph = read_text(HEADER "ob=/opt/app\n"
                                                   "fl=file1.c\nfn=main\n0x1000 20\n"
                                                   "cfn=func1\ncalls=1 0x1100\n0x1004 400\n"
                                                   "cfi=file2.c\ncfn=func2\ncalls=3 0x1200\n0x1008 400\n\n"
                                                   "fn=func1\n0x1100 100\n"
                                                   "cfi=file2.c\ncfn=func2\ncalls=2 0x1200\n0x1104 300\n\n"
                                                   "fl=file2.c\nfn=func2\n0x1200 700\n\n"
                                                   "totals: 820\n");
  g_assert_cmpuint(graph->runs, ==, 1);
  g_assert_cmpuint(graph->functions->len, ==, 3);
  g_assert_cmpuint(profile_graph_total(graph), ==, 820);
  rig_expect(graph, "main", 20, 1, 0, 820);
  rig_expect(graph, "work", 100, 1, 0, 400);
  rig_expect(graph, "step", 700, 5, 0, 700);
  rig_expect_arc(graph, "main", "work", 1, 0, 400);
  rig_expect_arc(graph, "main", "step", 3, 0, 400);
  rig_expect_arc(graph, "work", "step", 2, 0, 300);
  rig_expect_arc(graph, "step", "main", 0, 0, 0);
}

static void
test_numbered_names(void)
{
  /* Files and functions are numbered apart, names may come before they are needed, and the object of a call
   * is that call's alone. */
  g_autoptr(ProfileGraph) graph = read_text(HEADER "ob=(1) /opt/app\nfn=(1) main\nfn=(2) work\n"
                                                   "cob=(2) /lib/libx.so\ncfn=(3) helper\n"
                                                   "calls=4 0x500\n"
                                                   "0x1000 40\n"
                                                   "fn=(1)\n0x1000 5\n"
                                                   "cob=(2)\ncfn=(3)\ncalls=2 0x510\n0x1002 8\n"
                                                   "cfn=(2)\ncalls=1 0x1100\n0x1004 60\n"
                                                   "fn=(2)\n0x1100 20\n"
                                                   "ob=(2)\nfn=(3)\n0x500 48\n"
                                                   "totals: 73\n");
  rig_expect(graph, "helper", 48, 6, 0, 48);
  rig_expect_arc(graph, "main", "helper", 6, 0, 48);
  rig_expect_arc(graph, "main", "work", 1, 0, 60);
  const ProfileFunction *helper = rig_find(graph, "helper");
  const ProfileObject *object = graph->objects->pdata[helper->object];
  g_assert_cmpstr(object->path, ==, "/lib/libx.so");
  g_assert_cmpstr(object->build_id, ==, "bb");
  g_assert_cmpuint(helper->offset, ==, 0x500);
}

/* Valgrind 3.19 counts relative addresses from the last line of an instruction's own cost, not from the place
 * of a call or jump. */
static void
test_relative_positions(void)
{
  g_autoptr(ProfileGraph) graph = read_text(HEADER "ob=/opt/app\nfn=main\n0x1000 1\n+3 2\n* 4\n-1 8\n"
                                                   "cfn=work\ncalls=1 +254\n+16 100\n"
                                                   "jump=2 +40 \n+8 \n"
                                                   "+1149 16\n"
                                                   "fn=work\n0x1100 100\n"
                                                   "totals: 131\n");
  rig_expect(graph, "main", 15, 1, 0, 115);
  rig_expect(graph, "work", 100, 1, 0, 100);
  /* 0x1002 + 1149 is the last byte of rest, where nothing tells how main's context came. */
  g_assert_cmpuint(rig_find(graph, "rest")->self, ==, 16);
}

static void
test_more_positions_and_events(void)
{
  g_autoptr(ProfileGraph) graph = read_text("version: 1\npositions: instr line\nevent: Dr : reads\n"
                                            "events: Dr Ir Dw\n\n"
                                            "ob=/opt/app\nfn=main\n"
                                            "0x1000 17 9 1 9\n+4 +1 9 2\n* * 9 4\n+2 -3 9\n"
                                            "cfn=work\ncalls=3 0x1100 40\n* * 70 30 7\n"
                                            "fn=work\n0x1100 40 0 30\n"
                                            "totals: 36 37 9\n");
  rig_expect(graph, "main", 7, 1, 0, 37);
  rig_expect(graph, "work", 30, 3, 0, 30);
  rig_expect_arc(graph, "main", "work", 3, 0, 30);
}

/* What valgrind writes of a factorial of 6: all calls but the first happen inside another. */
static void
test_recursion(void)
{
  g_autoptr(ProfileGraph) graph = read_text(HEADER "ob=/opt/app\n"
                                                   "fn=main\n0x1000 10\ncfn=f\ncalls=1 0x1100\n0x1004 57\n"
                                                   "fn=f\n0x1100 10\ncfn=f'2\ncalls=1 0x1100\n0x1104 47\n"
                                                   "fn=f'2\n0x1100 47\ncfn=f'2\ncalls=4 0x1100\n0x1104 88\n"
                                                   "totals: 67\n");
  rig_expect(graph, "work", 57, 6, 5, 57);
  rig_expect_arc(graph, "main", "work", 1, 0, 57);
  rig_expect_arc(graph, "work", "work", 5, 5, 0);
}

/* A cycle of two: each has one outermost call, which its inclusive cost is of. */
static void
test_mutual_recursion(void)
{
  g_autoptr(ProfileGraph) graph =
      read_text(HEADER "ob=/opt/app\n"
                       "fn=main\n0x1000 10\ncfn=even\ncalls=1 0x1100\n0x1004 60\n"
                       "fn=even\n0x1100 10\ncfn=odd\ncalls=1 0x1200\n0x1104 50\n"
                       "fn=odd\n0x1200 10\ncfn=even'2\ncalls=1 0x1100\n0x1204 40\n"
                       "fn=even'2\n0x1100 20\ncfn=odd'2\ncalls=2 0x1200\n0x1104 40\n"
                       "fn=odd'2\n0x1200 20\ncfn=even'2\ncalls=1 0x1100\n0x1204 20\n"
                       "totals: 70\n");
  rig_expect(graph, "work", 30, 3, 2, 60);
  rig_expect(graph, "step", 30, 3, 2, 50);
  rig_expect_arc(graph, "work", "step", 3, 2, 50);
  rig_expect_arc(graph, "step", "work", 2, 2, 0);
}

/* In a stripped program work ends with a jump to step, which ends with one to tail: all in work's context. */
static void
test_tail_calls(void)
{
  g_autoptr(ProfileGraph) graph =
      read_text(HEADER "ob=/opt/app\n"
                       "fn=main\n0x1000 10\ncfn=0x0000000000001100\ncalls=4 0x1100\n0x1004 100\n"
                       "cfn=0x0000000000001200\ncalls=1 0x1200\n0x1008 20\n"
                       "fn=0x0000000000001100\n0x1100 20\njump=4 0x1200\n0x1104\n"
                       "0x1200 30\njcnd=3/4 0x1300\n0x1204\n"
                       "0x1300 30\njcnd=9/12 0x1310\n0x1308\njump=2 0x1310\n0x130a\n"
                       "cob=/lib/libx.so\ncfn=helper\ncalls=3 0x500\n0x130c 20\n"
                       "fn=0x0000000000001200\n0x1200 10\njcnd=1/1 0x1300\n0x1204\n0x1300 10\n"
                       "ob=/lib/libx.so\nfn=helper\n0x500 20\n"
                       "totals: 130\n");
  rig_expect(graph, "work", 20, 4, 0, 100);
  rig_expect(graph, "step", 40, 5, 0, 100);
  rig_expect(graph, "tail", 40, 4, 0, 60);
  rig_expect(graph, "helper", 20, 3, 0, 20);
  rig_expect_arc(graph, "work", "step", 4, 0, 80);
  rig_expect_arc(graph, "step", "tail", 4, 0, 60);
  rig_expect_arc(graph, "tail", "helper", 3, 0, 20);
  rig_expect_arc(graph, "work", "tail", 0, 0, 0);
}

/* A function that two parts of a context jump to is divided between them by their jumps; a circle of jumps
 * ends. */
static void
test_tail_calls_meet(void)
{
  g_autoptr(ProfileGraph) graph =
      read_text(HEADER "ob=/opt/app\n"
                       "fn=main\n0x1000 10\ncfn=0x1100\ncalls=4 0x1100\n0x1004 100\n"
                       "fn=0x1100\n0x1100 20\njump=3 0x1200\n0x1104\njump=1 0x1300\n0x1108\n"
                       "0x1200 40\njump=3 0x1300\n0x1204\n"
                       "0x1300 40\njump=2 0x1200\n0x1304\n"
                       "totals: 110\n");
  rig_expect(graph, "step", 40, 5, 0, rig_find(graph, "step")->inclusive);
  rig_expect(graph, "tail", 40, 4, 0, rig_find(graph, "tail")->inclusive);
  g_assert_cmpuint(profile_graph_total(graph), ==, 110);
  g_assert_cmpuint(rig_find(graph, "step")->inclusive, <=, 110);
  g_assert_cmpuint(rig_find(graph, "tail")->inclusive, <=, 110);
}

/* Two functions that jump to each other in turn: all is inside the call that the first one began with, and is
 * its cost once. */
static void
test_tail_calls_back(void)
{
  g_autoptr(ProfileGraph) graph =
      read_text(HEADER "ob=/opt/app\n"
                       "fn=main\n0x1000 10\ncfn=0x1100\ncalls=4 0x1100\n0x1004 100\n"
                       "fn=0x1100\n0x1100 60\njump=8 0x1200\n0x1104\n"
                       "0x1200 40\njump=4 0x1100\n0x1204\n"
                       "totals: 110\n");
  rig_expect(graph, "work", 60, 8, 4, 100);
  rig_expect_arc(graph, "main", "work", 4, 0, 100);
  rig_expect_arc(graph, "step", "work", 4, 4, 0);
  g_assert_cmpuint(rig_find(graph, "step")->calls, ==, 8);
  g_assert_cmpuint(rig_find(graph, "step")->inclusive, <=, 100);
}

/* valgrind names the unlikely half of a function and counts it as one that is called; its return to the first
 * half is in its context. */
static void
test_cold_half(void)
{
  g_autoptr(ProfileGraph) graph =
      read_text(HEADER "ob=/opt/app\n"
                       "fn=main\n0x1000 10\ncfn=work\ncalls=5 0x1100\n0x1004 100\n"
                       "fn=work\n0x1100 20\ncfn=work.cold\ncalls=2 0x900\n0x1104 50\n"
                       "cfn=step\ncalls=3 0x1200\n0x1108 30\n"
                       "fn=work.cold\n0x900 10\ncfn=tail\ncalls=2 0x1300\n0x904 6\njump=2 0x1108\n0x908\n"
                       "0x1108 14\ncfn=step\ncalls=2 0x1200\n0x1108 20\n"
                       "fn=step\n0x1200 50\nfn=tail\n0x1300 6\n"
                       "totals: 110\n");
  rig_expect(graph, "work", 44, 5, 0, 100);
  rig_expect_arc(graph, "work", "step", 5, 0, 50);
  rig_expect_arc(graph, "work", "tail", 2, 0, 6);
  rig_expect_arc(graph, "work", "work", 0, 0, 0);
  g_assert_cmpuint(graph->functions->len, ==, 4);
}

/* A stub that valgrind does not know for one: its callers called what it jumps to. */
static void
test_stub_of_no_function(void)
{
  g_autoptr(ProfileGraph) graph =
      read_text(HEADER "ob=/opt/app\n"
                       "fn=main\n0x1000 10\ncob=???\ncfn=0x109050\ncalls=3 0x109050\n0x1004 303\n"
                       "cfn=work\ncalls=1 0x1100\n0x1008 60\n"
                       "fn=work\n0x1100 9\ncob=???\ncfn=0x109050\ncalls=1 0x109050\n0x1104 51\n"
                       "ob=???\nfn=0x109050\n0x109050 4\n"
                       "cob=/lib/libx.so\ncfn=helper\ncalls=4 0x500\n0x109050 350\n"
                       "ob=/lib/libx.so\nfn=helper\n0x500 350\n"
                       "totals: 373\n");
  rig_expect(graph, "main", 13, 1, 0, 373);
  rig_expect(graph, "work", 10, 1, 0, 60);
  rig_expect(graph, "helper", 350, 4, 0, 350);
  rig_expect_arc(graph, "main", "helper", 3, 0, 300);
  rig_expect_arc(graph, "work", "helper", 1, 0, 50);
}

/* Code that was made at run time calls itself and others; all of it is the work of who called it. */
static void
test_code_made_at_run_time(void)
{
  g_autoptr(ProfileGraph) graph =
      read_text(HEADER "ob=/opt/app\nfn=main\n0x1000 10\ncob=???\ncfn=0x4000\ncalls=2 0x4000\n0x1004 90\n"
                       "ob=???\nfn=0x4000\n0x4000 20\ncfn=0x5000\ncalls=6 0x5000\n0x4008 70\n"
                       "fn=0x5000\n0x5000 30\ncfn=0x4000'2\ncalls=1 0x4000\n0x5004 9\n"
                       "cob=/opt/app\ncfn=step\ncalls=7 0x1200\n0x5008 40\n"
                       "ob=/opt/app\nfn=step\n0x1200 40\n"
                       "totals: 100\n");
  rig_expect(graph, "main", 60, 1, 0, 100);
  rig_expect_arc(graph, "main", "step", 7, 0, 40);
  g_assert_cmpuint(graph->functions->len, ==, 2);
}

/* A thread's first function, and the loader's first code of a file that is not there. */
static void
test_called_by_nobody(void)
{
  g_autoptr(ProfileGraph) graph = read_text(HEADER "ob=/opt/app\nfn=work\n0x1100 10\n"
                                                   "cfn=step\ncalls=2 0x1200\n0x1104 6\n"
                                                   "fn=step\n0x1200 6\n"
                                                   "ob=/lib/gone.so\nfn=_start\n0x10 5\n"
                                                   "cob=/opt/app\ncfn=main\ncalls=1 0x1000\n0x14 7\n"
                                                   "ob=/opt/app\nfn=main\n0x1000 7\n"
                                                   "totals: 28\n");
  rig_expect(graph, "work", 10, 1, 0, 16);
  rig_expect(graph, "main", 7, 1, 0, 7);
  g_assert_cmpuint(graph->elsewhere, ==, 5);
  g_assert_cmpuint(profile_graph_total(graph), ==, 28);
  g_assert_cmpuint(graph->objects->len, ==, 1);
}

/* A call within a function, as code that asks for its own address does, begins nothing. */
static void
test_call_of_the_middle(void)
{
  g_autoptr(ProfileGraph) graph = read_text(HEADER "ob=/opt/app\nfn=main\n0x1000 3\n"
                                                   "cfn=main'2\ncalls=2 0x1010\n0x1004 8\n"
                                                   "fn=main'2\n0x1010 8\n"
                                                   "totals: 11\n");
  rig_expect(graph, "main", 11, 1, 0, 11);
  g_assert_cmpuint(graph->arcs->len, ==, 0);
}

/* A long run that was written in parts: a call that lasts through both counts once, its cost twice. */
static void
test_parts(void)
{
  g_autoptr(ProfileGraph) graph =
      read_text(HEADER "ob=(1) /opt/app\nfn=(1) main\n0x1000 3\ncfn=(2) work\ncalls=1 0x1100\n0x1004 8\n"
                       "fn=(2)\n0x1100 8\ntotals: 11\n" HEADER
                       "ob=(2) /opt/app\nfn=(7) main\ncfn=(2) work\ncalls=0 0x1100\n0x1004 5\n"
                       "fn=(2)\n0x1100 5\ntotals: 5\n");
  g_assert_cmpuint(graph->runs, ==, 1);
  rig_expect(graph, "main", 3, 1, 0, 16);
  rig_expect(graph, "work", 13, 1, 0, 13);
  rig_expect_arc(graph, "main", "work", 1, 0, 13);
}

static const char whole[] =
    HEADER "ob=(1) /opt/app\nfn=(1) main\n0x1000 3\ncfn=(2) work\ncalls=1 0x1100\n0x1004 8\n"
           "cob=(3) ???\ncfn=(4) 0x77\ncalls=1 0x77\n0x1006 2\n"
           "fn=(2)\n0x1100 8\njump=1 0x1200\n*\nob=(3)\nfn=(4)\n0x77 2\ntotals: 13\n";

static void
test_pieces(void)
{
  g_autoptr(ProfileGraph) once = read_text(whole);
  g_autofree char *expected = rig_text(once);
  for (gsize piece = 1; piece < 40; piece += 6) {
    g_autoptr(GError) error = NULL;
    g_autoptr(ProfileGraph) graph = read_pieces(whole, piece, &error);
    g_assert_no_error(error);
    g_autofree char *text = rig_text(graph);
    g_assert_cmpstr(text, ==, expected);
  }
}

/* Whatever its beginning, a file without its end is none. */
static void
test_cut_short(void)
{
  for (gsize length = 0; length < strlen(whole) - 1; length++) {
    g_autofree char *text = g_strndup(whole, length);
    g_autoptr(GError) error = NULL;
    g_autoptr(ProfileGraph) graph = read_pieces(text, 4096, &error);
    g_assert_null(graph);
    g_assert_nonnull(error);
  }
}

static void
test_bad_lines(void)
{
  static const struct {
    const char *text, *says;
  } cases[] = {
      {"hello\n", "line 1 of the profile test: it is no line of a profile"},
      {"version: 2\n", "line 1 of the profile test: its format is of version 2"},
      {"events: Cycles\n", "line 1 of the profile test: it does not count instructions"},
      {"positions: line\n", "line 1 of the profile test: it has no addresses"},
      {"events: Ir\nfn=f\n12 3\n", "line 3 of the profile test: costs come before"},
      {HEADER "0x1000 3\n", "line 14 of the profile test: a cost comes before the function"},
      {HEADER "fn=(3)\n", "line 14 of the profile test: the number of a name was not explained"},
      {HEADER "fn=(3 f\n", "line 14 of the profile test: the number of a name is damaged"},
      {HEADER "fn=(4294967296) f\n", "line 14 of the profile test: the number of a name is damaged"},
      {HEADER "fn=f\n0x1000 3 4\n", "line 15 of the profile test: there are more numbers"},
      {HEADER "fn=f\n0x1000 99999999999999999999\n", "line 15 of the profile test: a number is too large"},
      {HEADER "fn=f\n0x 3\n", "line 15 of the profile test: a number is missing"},
      {HEADER "fn=f\n-1 3\n", "line 15 of the profile test: an address is out of range"},
      {HEADER "fn=f\n0xffffffffffffffff 3\n+1 3\n",
       "line 16 of the profile test: an address is out of range"},
      {HEADER "fn=f\ncalls=1 0x1000\n0x1000 3\n", "line 16 of the profile test: a call comes before"},
      {HEADER "fn=f\ncalls=1 0x1000\nfn=g\n", "line 16 of the profile test: the line after a call"},
      {HEADER "fn=f\n0x1000 3\ntotals: 4\n", "line 16 of the profile test: it says that the program executed "
                                             "4 instructions, and its lines make up 3"},
      {HEADER "fn=f\n0x1000 3\n", "line 15 of the profile test: it ends here"},
      {HEADER "totals: 0\nfn=f\n0x1000 3\n", "line 16 of the profile test: it ends here"},
      {"", "the profile test is empty: the program executed another one"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    g_autoptr(GError) error = NULL;
    g_autoptr(ProfileGraph) graph = read_pieces(cases[i].text, 4096, &error);
    g_assert_null(graph);
    g_assert_nonnull(error);
    g_test_message("%s", error->message);
    g_assert_true(g_str_has_prefix(error->message, cases[i].says));
  }
}

static void
test_zero_byte(void)
{
  static const char text[] = "version: 1\nfn=\0f\n";
  g_autoptr(GError) error = NULL;
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(declared, "test");
  g_assert_false(profile_callgrind_feed(callgrind, text, sizeof text - 1, &error));
  g_assert_cmpstr(error->message, ==, "line 2 of the profile test: it has a zero byte");
}

/* Memory is not the sender's: a line, names and calls without end are refused. */
static void
test_without_end(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(ProfileCallgrind) line = profile_callgrind_new(declared, "test");
  g_autofree char *piece = g_strnfill(4096, 'x');
  gboolean good = TRUE;
  for (guint i = 0; i < 1000 && good; i++)
    good = profile_callgrind_feed(line, piece, 4096, &error);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_cmpstr(error->message, ==, "line 1 of the profile test: it is too long");
  g_clear_error(&error);

  g_autoptr(ProfileCallgrind) names = profile_callgrind_new(declared, "test");
  good = profile_callgrind_feed(names, HEADER "ob=/opt/app\n", strlen(HEADER "ob=/opt/app\n"), &error);
  for (guint i = 0; i < (1u << 20) && good; i++) {
    g_autofree char *lines = g_strdup_printf("fn=f%u\n0x1000 1\n", i);
    good = profile_callgrind_feed(names, lines, strlen(lines), &error);
  }
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_nonnull(strstr(error->message, "more than"));
}

static guint64
resident_bytes(void)
{
  g_autofree char *text = NULL;
  g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
  const char *resident = strchr(text, ' ');
  g_assert_nonnull(resident);
  return g_ascii_strtoull(resident, NULL, 10) * (guint64)sysconf(_SC_PAGESIZE);
}

/* One long name takes its room once, in however many files. */
static void
test_long_name_in_many_files(void)
{
#ifdef __SANITIZE_ADDRESS__
  g_test_skip("the address sanitizer keeps what was let go of for a while");
  return;
#endif
  g_autofree char *name = g_strnfill(60000, 'n'), *first = g_strdup_printf("ob=/opt/app\nfn=(1) %s\n", name);
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(declared, "test");
  g_assert_true(profile_callgrind_feed(callgrind, HEADER, strlen(HEADER), NULL));
  g_assert_true(profile_callgrind_feed(callgrind, first, strlen(first), NULL));
  guint64 before = resident_bytes();
  for (guint i = 0; i < 3000; i++) {
    g_autofree char *lines = g_strdup_printf("ob=/lib/%u\nfn=(1)\n0x1000 1\n", i);
    g_assert_true(profile_callgrind_feed(callgrind, lines, strlen(lines), NULL));
  }
  guint64 after = resident_bytes();
  g_test_message("%" G_GUINT64_FORMAT " bytes before, %" G_GUINT64_FORMAT " after", before, after);
  g_assert_cmpuint(after, <, before + 3000 * 60000 / 4);
}

static ProfileFile *
declared_large(const char *path, GError **error)
{
  ProfileFile *file =
      profile_file_new(profile_object_copy(&(ProfileObject){.path = (char *)path, .build_id = (char *)"cc"}));
  for (guint i = 0; i < (1u << 18); i++)
    profile_file_add(file, i, 1, i, NULL);
  return file;
}

/* A context that jumps from function to function, each costing 1. */
static void
test_long_chain_of_tail_calls(void)
{
  g_autoptr(GString) text =
      g_string_new(HEADER "ob=/lib/libx.so\nfn=f\n5000 1\ncfn=0x0\ncalls=1 0\n5000 1000\n"
                          "fn=0x0\n");
  for (guint i = 0; i < 1000; i++)
    g_string_append_printf(text, "%u 1\n", i);
  for (guint i = 0; i < 999; i++)
    g_string_append_printf(text, "jump=1 %u\n%u\n", i + 1, i);
  g_string_append(text, "totals: 1001\n");
  g_autoptr(GError) error = NULL;
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(declared_large, "test");
  g_assert_true(profile_callgrind_feed(callgrind, text->str, text->len, &error));
  g_autoptr(ProfileGraph) graph = profile_callgrind_end(callgrind, &error);
  g_assert_no_error(error);
  for (guint i = 1; i < 1000; i++) {
    g_autofree char *offset = g_strdup_printf("0x%x", i);
    rig_expect(graph, offset, 1, 1, 0, 1000 - i);
  }
}

/* The program's arguments, in one line, may be longer than what else is taken for a line. */
static void
test_long_command(void)
{
  g_autofree char *arguments = g_strnfill(200000, 'a');
  g_autofree char *text =
      g_strconcat("version: 1\ncmd: ./app ", arguments, "\npositions: instr\nevents: Ir\n",
                  "ob=/opt/app\nfn=main\n0x1000 3\ntotals: 3\n", NULL);
  for (gsize piece = 3; piece < 300000; piece *= 40) {
    g_autoptr(GError) error = NULL;
    g_autoptr(ProfileGraph) graph = read_pieces(text, piece, &error);
    g_assert_no_error(error);
    rig_expect(graph, "main", 3, 1, 0, 3);
  }
}

/* Nor are the functions of files of this machine, which the sender names. */
static void
test_large_file_by_many_paths(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(declared_large, "test");
  gboolean good = profile_callgrind_feed(callgrind, HEADER, strlen(HEADER), &error);
  for (guint i = 0; i < 20 && good; i++) {
    g_autofree char *lines = g_strdup_printf("ob=/lib/%u/../libx.so\nfn=f\n0x10 1\n", i);
    good = profile_callgrind_feed(callgrind, lines, strlen(lines), &error);
  }
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_nonnull(strstr(error->message, "its files have more than"));
}

/* What is no function has 1,500 callers and calls 1,500: two million pairs from a small file. */
static void
test_large_division(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GString) text = g_string_new(HEADER "ob=/lib/libx.so\n");
  for (guint i = 0; i < 1500; i++)
    g_string_append_printf(text, "fn=f%u\n%u 0\ncob=???\ncfn=0x7\ncalls=1500 0x7\n%u 1500\n", i, i, i);
  g_string_append(text, "ob=???\nfn=0x7\n0x7 0\n");
  for (guint i = 0; i < 1500; i++)
    g_string_append_printf(text, "cob=/lib/libx.so\ncfn=g%u\ncalls=1500 %u\n0x7 1500\n", i, 2000 + i);
  g_string_append(text, "totals: 0\n");
  g_autoptr(ProfileCallgrind) callgrind = profile_callgrind_new(declared_large, "test");
  g_assert_true(profile_callgrind_feed(callgrind, text->str, text->len, &error));
  g_autoptr(ProfileGraph) graph = profile_callgrind_end(callgrind, &error);
  g_assert_null(graph);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_nonnull(strstr(error->message, "too many places"));
}

/* Sums that would begin anew at 0 stay at the largest number, and divisions of them are refused. */
static void
test_largest_numbers(void)
{
#define LARGEST "9223372036854775807"
  g_autoptr(ProfileGraph) graph = read_text(
      HEADER "ob=/opt/app\nfn=main\n0x1000 " LARGEST "\n0x1001 " LARGEST "\n"
             "cfn=work\ncalls=" LARGEST " 0x1100\n0x1004 " LARGEST "\ncalls=" LARGEST " 0x1100\n0x1005 1\n"
             "totals: " LARGEST "\n");
  rig_expect(graph, "main", G_MAXINT64, 1, 0, G_MAXINT64);
  rig_expect(graph, "work", 0, G_MAXINT64, 0, G_MAXINT64);
  g_autoptr(GError) error = NULL;
  g_autoptr(ProfileGraph) divided =
      read_pieces(HEADER "ob=/opt/app\nfn=main\ncob=???\ncfn=0x7\ncalls=" LARGEST " 0x7\n0x1004 1\n"
                         "ob=???\nfn=0x7\n0x7 3\ntotals: 3\n",
                  4096, &error);
  g_assert_null(divided);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/callgrind/manual", test_manual);
  g_test_add_func("/callgrind/numbered-names", test_numbered_names);
  g_test_add_func("/callgrind/relative-positions", test_relative_positions);
  g_test_add_func("/callgrind/more-positions-and-events", test_more_positions_and_events);
  g_test_add_func("/callgrind/recursion", test_recursion);
  g_test_add_func("/callgrind/mutual-recursion", test_mutual_recursion);
  g_test_add_func("/callgrind/tail-calls", test_tail_calls);
  g_test_add_func("/callgrind/tail-calls-meet", test_tail_calls_meet);
  g_test_add_func("/callgrind/tail-calls-back", test_tail_calls_back);
  g_test_add_func("/callgrind/long-chain-of-tail-calls", test_long_chain_of_tail_calls);
  g_test_add_func("/callgrind/cold-half", test_cold_half);
  g_test_add_func("/callgrind/stub-of-no-function", test_stub_of_no_function);
  g_test_add_func("/callgrind/code-made-at-run-time", test_code_made_at_run_time);
  g_test_add_func("/callgrind/called-by-nobody", test_called_by_nobody);
  g_test_add_func("/callgrind/call-of-the-middle", test_call_of_the_middle);
  g_test_add_func("/callgrind/parts", test_parts);
  g_test_add_func("/callgrind/pieces", test_pieces);
  g_test_add_func("/callgrind/cut-short", test_cut_short);
  g_test_add_func("/callgrind/bad-lines", test_bad_lines);
  g_test_add_func("/callgrind/long-command", test_long_command);
  g_test_add_func("/callgrind/zero-byte", test_zero_byte);
  g_test_add_func("/callgrind/without-end", test_without_end);
  g_test_add_func("/callgrind/long-name-in-many-files", test_long_name_in_many_files);
  g_test_add_func("/callgrind/large-file-by-many-paths", test_large_file_by_many_paths);
  g_test_add_func("/callgrind/large-division", test_large_division);
  g_test_add_func("/callgrind/largest-numbers", test_largest_numbers);
  return g_test_run();
}
