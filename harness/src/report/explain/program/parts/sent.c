/*
 * A call has returned, and says that it has sent `len` bytes of the file. What the file
 * has there now is what must arrive.
 */
static void sent(long offset, ssize_t len)
{
	{{FAILED}}
	must(pread(file, expected + sent_bytes, len, offset), "pread");
	for (ssize_t i = 0; i < len; i++)
		offset_of[sent_bytes + i] = offset + i;
	sent_bytes += len;
}
