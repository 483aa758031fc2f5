/* Marks functions that are worth running elsewhere (CloneCloud, section 4: which methods may migrate).
 *
 *   static void
 *   render(struct band *band)
 *   {
 *     DOPPEL_OFFLOAD;
 *     ...
 *   }
 *
 * "doppel run PROGRAM" then watches the marked functions of the program and of its libraries: calls of them
 * run in the clone where that is faster, with the same results. "doppel symbols --marked PROGRAM" lists them.
 * Worth a mark is what computes for milliseconds or more, on data that is smaller than the work.
 *
 * There is nothing to link and nothing to call: the mark is 28 bytes in the file, an ELF note (gABI, "Note
 * Section") that strip(1) leaves, and without doppel the program does what it does without the mark. A marked
 * function is never inlined. Where the compiler makes several of one (a template's instances, copies for
 * constant arguments) each is marked; of one that nobody calls, the linker drops the mark with the function
 * or keeps both.
 *
 * In C and C++, by gcc and clang (from 9), for x86-64 and aarch64; elsewhere it is nothing. It is the first
 * statement of any function but one that is always_inline, naked or constexpr. Programs built without
 * unwinding tables (-fno-asynchronous-unwind-tables) have to keep their symbols: in a stripped one nothing
 * else says where the function begins. */
#ifndef DOPPEL_OFFLOAD_H
#define DOPPEL_OFFLOAD_H

#if defined(__GNUC__) && defined(__ELF__) && (defined(__x86_64__) || defined(__aarch64__))
/* What it is made of would be warned about in the user's lines otherwise. */
#pragma GCC system_header

/* The note is named "doppel", its type is 1, and it says how far from itself, in 8 bytes, an instruction of
 * the function is: a distance that is known when the file is linked, wherever it is loaded, so that the
 * loader has nothing to do. An instruction, and not the function, since nothing else can be named in every
 * language, function and kind of file. "?": the note is dropped with its function where an inline one is in
 * several objects.
 *
 * What never runs keeps the function from being inlined: neither compiler copies a jump to an address that
 * was computed into another function. An attribute could not stand beside the note, in the body. */
#define DOPPEL_OFFLOAD                                                                                       \
  __extension__({                                                                                            \
    __label__ doppel_never;                                                                                  \
    __asm__ goto("990:\n"                                                                                    \
                 "\t.pushsection .note.doppel, \"?a\", %%note\n"                                             \
                 "\t.balign 4\n"                                                                             \
                 "\t.4byte 992f - 991f, 994f - 993f, 1\n"                                                    \
                 "991:\t.asciz \"doppel\"\n"                                                                 \
                 "992:\t.balign 4\n"                                                                         \
                 "993:\t.8byte 990b - .\n"                                                                   \
                 "994:\t.popsection"                                                                         \
                 :                                                                                           \
                 :                                                                                           \
                 :                                                                                           \
                 : doppel_never);                                                                            \
    if (0) {                                                                                                 \
      void *doppel_nowhere;                                                                                  \
    doppel_never:                                                                                            \
      doppel_nowhere = &&doppel_never;                                                                       \
      __asm__("" : "+r"(doppel_nowhere));                                                                    \
      goto *doppel_nowhere;                                                                                  \
    }                                                                                                        \
  })
#else
#define DOPPEL_OFFLOAD ((void)0)
#endif

#endif
