/* Compiled by whatever compiler the entry names; that one gives TOOLCHAIN its value. */
const char made_by[] = TOOLCHAIN;
