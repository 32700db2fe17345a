setenv("SIF", place)
setenv(variable, place)
setenv("CONTAINERROOT", root)
local beside = root .. "/runscripts"
setenv("RUNSCRIPTS", isDir(beside) and beside or "/runscripts")
-- A bind whose source is missing would be fatal.
for _, bind in ipairs(binds) do
   local source = bind:match("^[^:]*")
   if mode == "unload" or isDir(source) or isFile(source) then
      append_path("SINGULARITY_BIND", bind, ",")
   end
end
