/*
 * A call is to be made. Others write while it runs, so what the file has now may arrive
 * as well as what it has when the call returns.
 */
static void entering(long offset, long len)
{
	must(pread(file, earlier + sent_bytes, len, offset), "pread");
}
