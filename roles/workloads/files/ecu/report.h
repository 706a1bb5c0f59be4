/* What a run is told as: one line of JSON, or a table for a person. */
#ifndef ECU_REPORT_H
#define ECU_REPORT_H

#include "run.h"

/* No spark, dwell or injection was missed, and nothing was lost. */
bool passed(const struct run *run);

void print_json(const struct run *run, uint64_t digest, bool correct);
void print_summary(const struct run *run);

#endif
