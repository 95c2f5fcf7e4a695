void specimen_placeholder(void) {}
