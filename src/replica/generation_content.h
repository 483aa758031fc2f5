/* A file's content that is being put together from older files, literals and holes: OPEN, SEGMENTS, CLOSE. */
#pragma once

#include "replica/generation.h"
#include "replica/generation_stack.h"

typedef struct GenerationContent GenerationContent;

/* Begins a content in the new file `name` of `directory` (an old one is replaced). The sources of `step`
 * (OPEN) are opened in `tree`, at paths below `top`; as files are replaced, never written to, they stay what
 * they are. NULL with MISMATCH where the tree has no such file. */
GenerationContent *generation_content_new(int directory, const char *name, const GenerationStep *step,
                                          const GenerationStack *tree, const char *top, GError **error);
void generation_content_free(GenerationContent *content);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationContent, generation_content_free)

/* Adds the segments of `step`. A piece that its source does not have makes the content a wrong one, which
 * generation_content_right() finds; more than OPEN said is HOSTILE. */
gboolean generation_content_add(GenerationContent *content, const GenerationStep *step, GError **error);

/* Whether the content is complete and has this hash. */
gboolean generation_content_right(GenerationContent *content,
                                  const guint8 hash[static GENERATION_CONTENT_HASH]);

const char *generation_content_path(const GenerationContent *content);
const ReplicaFacts *generation_content_facts(const GenerationContent *content);
