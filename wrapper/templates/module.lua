local place = nil
for _, each in ipairs(places) do
   if place == nil and isFile(each .. sign) then place = each end
end
local mode = mode()
if place == nil then
   if mode == "load" then LmodError(missing) end
   place = places[1]
elseif place ~= places[1] and mode == "load" then
   LmodMessage(replaced)
end
