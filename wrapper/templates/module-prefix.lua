setenv("CONTAINERROOT", place)
setenv("RUNSCRIPTS", place .. "/bin")
-- Which of them was loaded is not known any more where it is unloaded.
for _, each in ipairs(mode == "unload" and places or { place }) do
   prepend_path("PATH", each .. "/bin")
end
